"""``run.json``: what changes from run to run, and nothing else of a product does."""

from __future__ import annotations

import json
import logging
import platform
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from models.parsed import from_json
from tasks.out.audit import Head
from tasks.segment.plan import Plan
from tasks.segment.store import BlockReport

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """How a product came about.

    Attributes:
        run: Id of the run in the ledger.
        finished: Time, ISO 8601 in UTC.
        plan: Blocks included.
        reports: Of the blocks.
        stages: Seconds by stage; two of them may have run side by side.
        audit: The line of the audit log that tells of the product; None where there is no log.
    """

    run: str
    finished: str
    plan: Plan
    reports: Sequence[BlockReport]
    stages: Mapping[str, float] = field(default_factory=dict)
    audit: Head | None = None


def write_run_record(path: Path, record: RunRecord) -> None:
    """Write the record as JSON."""
    facts = {
        "run": record.run,
        "finished": record.finished,
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "plan": asdict(record.plan) | {"placement": record.plan.placement.name},
        "blocks": len(record.reports),
        "tiles": sum(report.n_tiles for report in record.reports),
        "block_seconds": round(sum(report.seconds for report in record.reports), 3),
        "stage_seconds": dict(record.stages),
        **({} if record.audit is None else {"audit": asdict(record.audit)}),
    }
    path.write_text(json.dumps(facts, indent=2) + "\n")


@dataclass(frozen=True)
class Effort:
    """What a product took, as its record says.

    Attributes:
        blocks: Blocks in all.
        tiles: Tiles that were predicted.
        block_s: Seconds that blocks took, added up over the workers.
        stages_s: Seconds by stage; empty in records of earlier versions.
    """

    blocks: int
    tiles: int
    block_s: float
    stages_s: Mapping[str, float]


def read_effort(path: Path) -> Effort | None:
    """Return what a product took; None where its record cannot be read."""
    try:
        facts = from_json(path.read_bytes())
        stages_s = {str(stage): float(seconds) for stage, seconds in facts.get("stage_seconds", {}).items()}
        return Effort(int(facts["blocks"]), int(facts["tiles"]), float(facts["block_seconds"]), stages_s)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.debug("%s: tells nothing: %s", path, error)
        return None
