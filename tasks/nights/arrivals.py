"""What an inbox holds tonight."""

from __future__ import annotations

import logging
import os
from datetime import date, timedelta
from pathlib import Path

from tasks.declared import is_local
from tasks.errors import InboxError
from tasks.job import Job
from tasks.nights.earlier import looked_at
from tasks.scenes.best import newest_of
from tasks.scenes.clashes import fail_clashes
from tasks.scenes.input import Input
from tasks.scenes.listing import list_scenes, looked_for
from tasks.scenes.pairing import Refusal, paired
from tasks.scenes.stac_scenes import list_catalogue

logger = logging.getLogger(__name__)


def list_arrivals(inbox: str, job: Job, tonight: str, last: str | None) -> list[Input]:
    """Return the scenes of an inbox that count, done or not; what cannot be told apart is one that cannot be used.

    Args:
        inbox: A folder, or the address of a STAC catalogue: a URL, or a file ``*.json``.
        job: Its ``source`` and ``nightly`` say what belongs to a scene and which ones count.
        tonight: ISO date of the night.
        last: ISO date of the last night before it that ended.

    Raises:
        InboxError: When a folder is not there, or cannot be listed.
        CatalogueError: When a catalogue is not there, or does not answer.
        JobError: When the job does not say what to look for, or a pattern of it is wrong.
    """
    with looked_at(job.kind) as refusal:
        if not is_catalogue(inbox):
            return _in_folder(inbox, job, refusal)
        rules = job.nightly.stac
        days = 0 if rules is None else rules.lookback_days
        first = date.fromisoformat(min(last or tonight, tonight)) - timedelta(days=days)
        return list_catalogue(_absolute(inbox), job, first.isoformat(), tonight, refusal)


def is_catalogue(inbox: str) -> bool:
    """Tell whether an inbox is a STAC catalogue, rather than a folder."""
    return inbox.startswith(("http://", "https://")) or inbox.casefold().endswith(".json")


def _in_folder(inbox: str, job: Job, refusal: Refusal) -> list[Input]:
    _require_there(inbox)
    found = list_scenes([inbox], job)
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
