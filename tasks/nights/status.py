"""What the ledger of an OUT folder says: runs, products, nights."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from tasks.errors import StoreError
from tasks.ledger import Ledger, ProductRow, RunRow
from tasks.nights.night_ledger import NightLedger
from tasks.outfolder import OutFolder


@dataclass(frozen=True)
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
        overdue: Whether a night should have ended since.
    """

    root: Path
    run: RunRow | None
    running: bool
    done: int
    failed: tuple[ProductRow, ...]
    night: str | None
    night_ended: str | None
    overdue: bool


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
    ledger = Ledger(out.ledger)
    products, run, newest = ledger.products(), ledger.newest_run(), NightLedger(out.ledger).newest()
    failed = tuple(row for row in products if row.status == "failed")
    night, ended = (None, None) if newest is None else (newest[0].date, newest[1])
    overdue = newest is not None and _age(newest[1], now) > timedelta(hours=newest[0].overdue_hours)
    running = run is not None and run.finished is None and out.is_locked()
    return Status(root, run, running, len(products) - len(failed), failed, night, ended, overdue)


def _age(then: str, now: str) -> timedelta:
    return datetime.fromisoformat(now) - datetime.fromisoformat(then)
