"""What the ledger of an OUT folder says, runs, products and nights, and what a run under way tells of itself."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

from models.parsed import from_json
from tasks.errors import StoreError
from tasks.files.durable import replace_file
from tasks.nights.night_ledger import NightLedger
from tasks.out.fire_ledger import FireLedger
from tasks.out.folder import OutFolder
from tasks.out.ledger import Ledger, ProductRow, RunRow
from tasks.products.record import Effort, read_effort

logger = logging.getLogger(__name__)
_FILE = "backlog.json"


@dataclass(frozen=True)
class Backlog:
    """Scenes of a run that have not ended.

    Attributes:
        waiting: That have not begun.
        under_way: That have.
    """

    waiting: int
    under_way: int


def write_backlog(out: OutFolder, backlog: Backlog) -> None:
    """Tell it; the folder is held by the caller."""
    replace_file(out.scratch / _FILE, json.dumps(asdict(backlog)).encode())


def read_backlog(out: OutFolder) -> Backlog | None:
    """Return what the run told last; None where it has told nothing, or nothing that can be read."""
    try:
        told = from_json((out.scratch / _FILE).read_bytes())
        return Backlog(int(told["waiting"]), int(told["under_way"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.debug("%s: tells nothing: %s", out.scratch / _FILE, error)
        return None


@dataclass(frozen=True, kw_only=True)
class Status:
    """One OUT folder.

    Attributes:
        root: The folder.
        run: The newest run.
        running: Whether it is under way now.
        done: Scenes whose newest input has a product.
        failed: Scenes whose newest input has none.
        night: ISO date of the newest night; None where there were no nights.
        night_ended: When its last run ended, ISO 8601 in UTC.
        overdue: Whether a night should have ended since, or the first one that began.
        nights: How many nights there were.
        alerts: Texts of the alerts that stand, the newest first.
        effort: What the products that are shown took together.
        timed: How many of them tell.
        backlog: Scenes that wait and scenes that are under way; None where no run is.
        disk: Bytes of the file system of the folder.
    """

    root: Path
    run: RunRow | None
    running: bool
    done: int
    failed: tuple[ProductRow, ...]
    night: str | None
    night_ended: str | None
    overdue: bool
    nights: int
    alerts: tuple[str, ...]
    effort: Effort
    timed: int
    backlog: Backlog | None
    disk: Disk

    @property
    def scene_s(self) -> float | None:
        """Mean seconds that a scene took, its stages added up; None where no product tells."""
        return sum(self.effort.stages_s.values()) / self.timed if self.timed and self.effort.stages_s else None


@dataclass(frozen=True)
class Disk:
    """A file system.

    Attributes:
        free: Bytes that are left to programs.
        total: Bytes in all.
    """

    free: int
    total: int


def status_of(root: Path, now: str) -> Status:
    """Read a folder's ledger.

    Args:
        root: OUT.
        now: ISO 8601, in UTC.

    Raises:
        StoreError: When there is no ledger.
    """
    out = OutFolder(root)
    if not out.ledger.is_file():
        raise StoreError(f"{root}: holds no ledger ({out.ledger.name}), so nothing was segmented into it")
    ledger, nights = Ledger(out.ledger), NightLedger(out.ledger)
    products, run, newest = ledger.products(), ledger.newest_run(), nights.newest(now[:10])
    failed = tuple(row for row in products if row.status == "failed")
    night, ended = (None, None) if newest is None else (newest[0].date, newest[1])
    awaited = nights.awaited() if newest is None else (newest[1], newest[0].overdue_hours)
    overdue = awaited is not None and _age(awaited[0], now) > timedelta(hours=awaited[1])
    running = run is not None and run.finished is None and out.is_locked()
    alerts = tuple(told["text"] for _, told in FireLedger(out.ledger).standing())
    efforts = [effort for row in products if (effort := _effort(out, row)) is not None]
    space = shutil.disk_usage(root)
    return Status(
        root=root,
        run=run,
        running=running,
        done=len(products) - len(failed),
        failed=failed,
        night=night,
        night_ended=ended,
        overdue=overdue,
        nights=nights.count(),
        alerts=alerts,
        effort=_together(efforts),
        timed=sum(bool(effort.stages_s) for effort in efforts),
        backlog=read_backlog(out) if running else None,
        disk=Disk(space.free, space.total),
    )


def _effort(out: OutFolder, row: ProductRow) -> Effort | None:
    return None if row.product is None else read_effort(out.product(row.scene, row.product) / "run.json")


def _together(efforts: Sequence[Effort]) -> Effort:
    stages: dict[str, float] = {}
    for effort in efforts:
        for stage, seconds in effort.stages_s.items():
            stages[stage] = stages.get(stage, 0.0) + seconds
    return Effort(
        sum(effort.blocks for effort in efforts),
        sum(effort.tiles for effort in efforts),
        sum(effort.block_s for effort in efforts),
        stages,
    )


def _age(then: str, now: str) -> timedelta:
    return datetime.fromisoformat(now) - datetime.fromisoformat(then)
