"""What is deleted at the end of a night, by the job's rules."""

from __future__ import annotations

import logging
import shutil
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from tasks.jobs.nightly import Retention
from tasks.out.folder import OutFolder

logger = logging.getLogger(__name__)


def prune(out: OutFolder, rules: Retention, dates: Mapping[str, str], tonight: str, today: str) -> int:
    """Delete what the rules do not keep; what a link shows is never half there.

    What cannot be deleted is warned of by name, and tried again the next time.

    Args:
        out: Whose products; held by the caller.
        rules: What to delete.
        dates: ISO date of the observation by scene; scenes without one stay.
        tonight: ISO date of the night: observations are as old as they are then.
        today: ISO date in UTC: replaced products are as old as their files say.

    Returns:
        How many product folders went.
    """
    folders = sorted({*_superseded(out, rules, today), *_old(out, rules, dates, tonight)})
    gone = [folder for folder in folders if _put_aside(out, folder)]
    _delete_aside(out)
    return len(gone)


def is_kept(when: str | None, rules: Retention, tonight: str) -> bool:
    """Tell whether a scene of a date is looked at: one whose product would be deleted again is not."""
    return when is None or rules.scenes_days is None or when >= _before(tonight, rules.scenes_days)


def n_products(out: OutFolder, scene: str) -> int:
    """Count the products of a scene: the one that its link shows, and those before it that are not deleted yet."""
    return sum(path.is_dir() for path in (out.root / ".products" / scene).glob("*"))


def _put_aside(out: OutFolder, folder: Path) -> bool:
    link, aside = out.link(folder.parent.name), _aside(out)
    try:
        if _shows(link, folder):
            link.unlink()
        aside.mkdir(parents=True, exist_ok=True)
        # In one step: what is half there would be taken for the product if the same were asked for again.
        folder.replace(aside / uuid.uuid4().hex)
    except OSError as error:
        _warn(folder, error)
        return False
    logger.info("%s: deleted by the job's rules of retention", folder.relative_to(out.root))
    return True


def _delete_aside(out: OutFolder) -> None:
    """Delete what was put aside, also by a night that died over it."""
    for folder in sorted(_aside(out).glob("*")):
        try:
            shutil.rmtree(folder)
        except OSError as error:
            _warn(folder, error)


def _aside(out: OutFolder) -> Path:
    return out.scratch / "deleted"


def _warn(folder: Path, error: OSError) -> None:
    logger.warning(
        "%s: cannot be deleted as the job's rules of retention ask (%s); the next night tries again. See who owns it",
        folder,
        error,
    )


def _superseded(out: OutFolder, rules: Retention, today: str) -> Iterator[Path]:
    if rules.superseded_days is None:
        return
    limit = _before(today, rules.superseded_days)
    for folder in _products(out):
        link = out.link(folder.parent.name)
        if not link.is_symlink() or _shows(link, folder):
            continue
        # A product was replaced when its successor came, of which the link's own time tells.
        replaced = datetime.fromtimestamp(link.lstat().st_mtime, UTC).date().isoformat()
        if replaced <= limit:
            yield folder


def _old(out: OutFolder, rules: Retention, dates: Mapping[str, str], tonight: str) -> Iterator[Path]:
    # With or without a link: a night that died here has taken that away first.
    yield from (folder for folder in _products(out) if not is_kept(dates.get(folder.parent.name), rules, tonight))


def _shows(link: Path, folder: Path) -> bool:
    return link.is_symlink() and link.resolve() == folder.resolve()


def _products(out: OutFolder) -> list[Path]:
    return sorted(path for path in (out.root / ".products").glob("*/*") if path.is_dir())


def _before(tonight: str, days: int) -> str:
    return (date.fromisoformat(tonight) - timedelta(days=days)).isoformat()
