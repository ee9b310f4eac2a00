"""``run.json``: what changes from run to run, and nothing else of a product does."""

from __future__ import annotations

import json
import platform
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tasks.segment.plan import Plan
from tasks.segment.store import BlockReport


@dataclass(frozen=True)
class RunRecord:
    """How a product came about.

    Attributes:
        run: Id of the run in the ledger.
        finished: Time, ISO 8601 in UTC.
        plan: Blocks included.
        reports: Of the blocks.
    """

    run: str
    finished: str
    plan: Plan
    reports: Sequence[BlockReport]


def write_run_record(path: Path, record: RunRecord) -> None:
    """Write the record as JSON."""
    facts = {
        "run": record.run,
        "finished": record.finished,
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "plan": asdict(record.plan),
        "blocks": len(record.reports),
        "tiles": sum(report.n_tiles for report in record.reports),
        "block_seconds": round(sum(report.seconds for report in record.reports), 3),
    }
    path.write_text(json.dumps(facts, indent=2) + "\n")
