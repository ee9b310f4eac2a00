"""What an inbox holds tonight."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

from tasks.job import Job
from tasks.scenes.best import newest_of
from tasks.scenes.clashes import fail_clashes
from tasks.scenes.input import Input
from tasks.scenes.listing import list_scenes
from tasks.scenes.pairing import paired
from tasks.scenes.stac_scenes import list_catalogue


def list_arrivals(inbox: str, job: Job, tonight: str, last: str | None) -> list[Input]:
    """Return the scenes of an inbox that count, done or not; what cannot be told apart is one that cannot be used.

    Args:
        inbox: A folder, or the address of a STAC catalogue: a URL, or a file ``*.json``.
        job: Its ``source`` and ``nightly`` say what belongs to a scene and which ones count.
        tonight: ISO date of the night.
        last: ISO date of the last night before it that ended.

    Raises:
        CatalogueError: When a catalogue is not there, or does not answer.
        JobError: When the job does not say what to look for, or a pattern of it is wrong.
    """
    rules = job.nightly
    if is_catalogue(inbox):
        days = 0 if rules.stac is None else rules.stac.lookback_days
        first = date.fromisoformat(min(last or tonight, tonight)) - timedelta(days=days)
        found = list_catalogue(_absolute(inbox), job, first.isoformat(), tonight)
    else:
        found = list_scenes([inbox], job)
        if rules.best == "newest":
            found = newest_of(found, job.source.dates)
        found = fail_clashes(found, "Keep one of them in the inbox, or name them apart")
        if job.source.pair is not None:
            found = paired(found, job.source.pair, job.source.dates)
    return found


def is_catalogue(inbox: str) -> bool:
    """Tell whether an inbox is a STAC catalogue, rather than a folder."""
    return inbox.startswith(("http://", "https://")) or inbox.casefold().endswith(".json")


def _absolute(inbox: str) -> str:
    return inbox if "://" in inbox else str(Path(inbox).absolute())
