"""What an inbox holds tonight, and whether what would be the earlier scene of a pair can be read."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

from tasks.errors import InboxError, JobError
from tasks.files.declared import is_local
from tasks.inputs.best import newest_of
from tasks.inputs.clashes import fail_clashes
from tasks.inputs.earlier import Refusal, paired
from tasks.inputs.input import Input
from tasks.inputs.listing import list_scenes, looked_for
from tasks.inputs.naming import date_of, first_date
from tasks.inputs.people import People
from tasks.inputs.stac_scenes import list_catalogue
from tasks.jobs.job import Job
from tasks.verdict.guard import Guard

logger = logging.getLogger(__name__)


def list_arrivals(
    inbox: str, job: Job, tonight: str, last: str | None, n_channels: int = 1, people: People | None = None
) -> list[Input]:
    """Return the scenes of an inbox that count, done or not; what cannot be told apart is one that cannot be used.

    Args:
        inbox: A folder, or the address of a STAC catalogue: a URL, or a file ``*.json``.
        job: Its ``source`` and ``nightly`` say what belongs to a scene and which ones count.
        tonight: ISO date of the night.
        last: ISO date of the last night before it that ended.
        n_channels: Of the model, which volumes of numbered channels are put together for.
        people: Says whom DICOM shows; None where nobody asks.

    Raises:
        InboxError: When a folder is not there, or cannot be listed.
        CatalogueError: When a catalogue is not there, or does not answer.
        JobError: When the job does not say what to look for, or a pattern of it is wrong.
    """
    with looked_at(job.kind) as refusal:
        if not is_catalogue(inbox):
            _require_there(inbox)
            return _in_folder(list_scenes([inbox], job, n_channels, people), inbox, job, refusal)
        rules = job.nightly.stac
        days = 0 if rules is None else rules.lookback_days
        first = date.fromisoformat(min(last or tonight, tonight)) - timedelta(days=days)
        return list_catalogue(_absolute(inbox), job, first=first.isoformat(), last=tonight, refusal=refusal)


def require_dates(inbox: str, job: Job) -> None:
    """Refuse rules that go by dates where nothing says a scene's date: they would keep all, or have to guess.

    Args:
        inbox: The items of a catalogue have dates of their own, and so may the rows of a table.
        job: Its ``source.dates`` finds dates in ids.

    Raises:
        JobError: When scenes have no dates and are to be deleted by them.
    """
    days = job.nightly.retention.scenes_days
    if days is None or job.source.dates or is_catalogue(inbox) or inbox.casefold().endswith(".csv"):
        return
    raise JobError(
        f"job {job.job}: nightly.retention.scenes_days: {days} deletes by the dates of scenes, and nothing says where "
        'their ids carry one. Write source.dates, such as dates: {post: "{scene:%Y%m%d}"}, or leave scenes_days out'
    )


def dates_of_products(inbox: str, job: Job, items: Sequence[Input], names: Iterable[str]) -> dict[str, str]:
    """Return the ISO dates of scenes by id, those that have left the inbox among them; none is guessed.

    Args:
        inbox: Where they came from.
        job: Its ``source.dates`` finds dates in ids.
        items: What was listed: their own dates count, and one without a date has none.
        names: Ids of scenes with products.
    """
    found = {name: _date_of_id(inbox, job, name) for name in names} | {item.id: item.date for item in items}
    return {name: day for name, day in found.items() if day is not None}


@contextmanager
def looked_at(kind: str) -> Iterator[Refusal]:
    """Look at files in a process of their own, as scenes are checked before work; at each of them once.

    Args:
        kind: Of the job's scenes.
    """
    known: dict[str, str | None] = {}
    with Guard() as guard:

        def refusal(path: str) -> str | None:
            if path not in known:
                known[path] = _look(guard, path, kind)
            return known[path]

        yield refusal


def _look(guard: Guard, path: str, kind: str) -> str | None:
    # What lies behind an address and cannot be read now may be there tomorrow: it is waited for, not replaced.
    if not is_local(path):
        return None
    verdict = guard.ask({"path": path, "kind": kind})
    return None if verdict.go else f"{verdict.error}: {verdict.message}"


def _date_of_id(inbox: str, job: Job, name: str) -> str | None:
    if is_catalogue(inbox):
        # Scenes of a catalogue are called SITE_YYYYMMDD, whatever digits a site has.
        return date_of(name[-len("_YYYYMMDD") :], "_{scene:%Y%m%d}")
    return first_date(name, job.source.dates)


def is_catalogue(inbox: str) -> bool:
    """Tell whether an inbox is a STAC catalogue, rather than a folder."""
    return inbox.startswith(("http://", "https://")) or inbox.casefold().endswith(".json")


def _in_folder(found: list[Input], inbox: str, job: Job, refusal: Refusal) -> list[Input]:
    if not found:
        logger.info("%s: no scene has come; looked for %s", inbox, looked_for(job))
    if job.nightly.best == "newest":
        found = newest_of(found, job.source.dates)
    found = fail_clashes(found, "Keep one of them in the inbox, or name them apart")
    return found if job.source.pair is None else paired(found, job.source.pair, job.source.dates, refusal)


def _require_there(inbox: str) -> None:
    if not is_local(inbox) or inbox.startswith("@"):
        return
    # A folder that is not there would pass for one in which nothing has come.
    try:
        # A table of scenes is a file.
        if not Path(inbox).is_file():
            os.scandir(inbox).close()
    except OSError as error:
        raise InboxError(
            f"{inbox}: scenes cannot be looked for there ({error.strerror}). Check the path, and whether it is mounted"
        ) from error


def _absolute(inbox: str) -> str:
    return inbox if "://" in inbox else str(Path(inbox).absolute())
