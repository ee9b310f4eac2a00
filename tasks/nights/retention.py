"""What is deleted at the end of a night, by the job's rules."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from tasks.nights.settings import Retention
from tasks.outfolder import OutFolder

logger = logging.getLogger(__name__)


def prune(out: OutFolder, rules: Retention, dates: Mapping[str, str], tonight: str, today: str) -> int:
    """Delete what the rules do not keep; what a link shows is never half there.

    Args:
        out: Whose products; held by the caller.
        rules: What to delete.
        dates: ISO date of the observation by scene; scenes without one stay.
        tonight: ISO date of the night: observations are as old as they are then.
        today: ISO date in UTC: replaced products are as old as their files say.

    Returns:
        How many product folders went.
    """
    folders = [*_superseded(out, rules, today), *_old(out, rules, dates, tonight)]
    for folder in folders:
        link = out.link(folder.parent.name)
        if link.is_symlink() and link.resolve() == folder.resolve():
            link.unlink()
        shutil.rmtree(folder)
        logger.info("%s: deleted by the job's rules of retention", folder.relative_to(out.root))
    return len(folders)


def is_kept(when: str | None, rules: Retention, tonight: str) -> bool:
    """Tell whether a scene of a date is looked at: one whose product would be deleted again is not."""
    return when is None or rules.scenes_days is None or when >= _before(tonight, rules.scenes_days)


def _superseded(out: OutFolder, rules: Retention, today: str) -> Iterator[Path]:
    if rules.superseded_days is None:
        return
    limit = _before(today, rules.superseded_days)
    for folder in _products(out):
        link = out.link(folder.parent.name)
        if not link.is_symlink() or link.resolve() == folder.resolve():
            continue
        # A product was replaced when its successor came, of which the link's own time tells.
        replaced = datetime.fromtimestamp(link.lstat().st_mtime, UTC).date().isoformat()
        if replaced <= limit:
            yield folder


def _old(out: OutFolder, rules: Retention, dates: Mapping[str, str], tonight: str) -> Iterator[Path]:
    for folder in _products(out):
        link = out.link(folder.parent.name)
        current = link.is_symlink() and link.resolve() == folder.resolve()
        if current and not is_kept(dates.get(folder.parent.name), rules, tonight):
            yield folder


def _products(out: OutFolder) -> list[Path]:
    return sorted(path for path in (out.root / ".products").glob("*/*") if path.is_dir())


def _before(tonight: str, days: int) -> str:
    return (date.fromisoformat(tonight) - timedelta(days=days)).isoformat()
