"""What came to a batch of studies: whom its scenes show, and a row in the worklist for each."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from tasks.deidentify.journal import FileVerdict
from tasks.errors import KeyFileError, StoreError
from tasks.files.keys import institution_key
from tasks.files.pseudonyms import Pseudonyms
from tasks.inputs.input import Input
from tasks.inputs.people import People
from tasks.intake.request import Request
from tasks.out.worklist import Arrival, WorklistLedger

logger = logging.getLogger(__name__)


def people_of(request: Request) -> People | None:
    """Return what patients are called in a run; None where a job does not ask, or nothing of it may be told.

    Raises:
        KeyFileError: When results are to be made with the institution's key, and it cannot be used.
    """
    job = request.job
    if job.kind != "volume":
        return None
    if job.deidentify is not None:
        return People(None)
    keeps_names = job.output.dicom is not None and job.output.dicom.patient == "original"
    try:
        return People(Pseudonyms(institution_key(request.out.root)), moves_dates=not keeps_names)
    except (KeyFileError, StoreError) as error:
        if request.institution is not None:
            raise
        # Nothing of what was asked for needs a key.
        logger.warning("patients have no pseudonyms, and are not followed: %s", error)
        return None


def receive(request: Request, items: Iterable[Input], refused: Iterable[tuple[Input, str]], now: str) -> None:
    """Enter scenes into the worklist; only studies have one.

    Args:
        request: Names job and folder.
        items: What a run begins with, and what its job leaves out.
        refused: What no run begins with, each with the error.
        now: ISO 8601, in UTC.
    """
    if request.job.kind != "volume":
        return
    rows = [*map(_arrival, items), *(_arrival(item, error) for item, error in refused)]
    WorklistLedger(request.out.ledger).receive(rows, now)


def refused_series(verdicts: Iterable[FileVerdict]) -> list[Arrival]:
    """Return a row for each series of which files cannot be freed of names, and for each such file of no series."""
    by_series: dict[str, list[FileVerdict]] = {}
    for verdict in verdicts:
        if verdict.status == "refused":
            by_series.setdefault(verdict.series or verdict.source, []).append(verdict)
    return [_refused(series, files) for series, files in by_series.items()]


def _refused(series: str, files: Sequence[FileVerdict]) -> Arrival:
    first = files[0]
    others = f" ({len(files)} files)" if len(files) > 1 else ""
    return Arrival(
        scene=series,
        study=first.study or first.source,
        patient=first.patient,
        date="",
        reception="refused",
        reason=f"{first.code}: {first.message}{others}",
    )


def _arrival(item: Input, refusal: str = "") -> Arrival:
    left_out = item.error or "" if item.left_out else ""
    return Arrival(
        scene=item.id,
        study=item.study or item.id,
        patient=item.site or "",
        date=item.date or "",
        reception="left out" if left_out else "refused" if refusal else "taken",
        reason=item.pseudonymised(left_out or refusal),
    )
