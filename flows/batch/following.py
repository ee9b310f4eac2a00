"""What is done at the end of a batch: fires are followed over nights, patients over dates; what to spray is told."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from flows.batch import steps
from flows.batch.alerts import send_alerts
from models.errors import SwatheError
from tasks.analysis.following import trails_of
from tasks.inputs.input import Input
from tasks.inputs.naming import FIRES, PATIENTS
from tasks.intake.request import Request
from tasks.out.fire_ledger import FireLedger
from tasks.out.folder import OutFolder
from tasks.out.outcome import SceneOutcome
from tasks.out.sightings import SightingLedger, sightings_of
from tasks.reports.trail import Trail

logger = logging.getLogger(__name__)


def follow(request: Request, items: Sequence[Input], outcomes: Sequence[SceneOutcome]) -> tuple[Trail, ...]:
    """Follow what the job's kind of analysis follows, tell what it decided, and return what there is to show of it.

    A mistake here costs what is followed, never the products of the batch.

    Args:
        request: Names the job.
        items: Of the batch; those without a date cannot be followed over dates.
        outcomes: Of the same scenes.
    """
    analysis = request.job.analysis
    if analysis is None or analysis.following is None:
        return ()
    made = {outcome.scene for outcome in outcomes if outcome.status != "failed"}
    published = [item for item in items if item.id in made]
    if analysis.over_dates and not sightings_of(request.job, published) and not _is_any_followed(request.out):
        # What follows is not even imported where no scene ever had a date.
        return ()
    try:
        for problem in steps.follow(request, analysis, published):
            logger.error("%s", problem)
    except SwatheError as error:
        logger.error("analysis %s: what goes on from scene to scene is not up to date: %s", analysis.kind, error)
    # What earlier runs decided and could not tell is told all the same.
    send_alerts(FireLedger(request.out.ledger))
    try:
        return trails_of(request.out, analysis)
    except SwatheError as error:
        logger.error("what was followed is not on the page: %s", error)
        return ()


def _is_any_followed(out: OutFolder) -> bool:
    """Tell whether a folder holds scenes with dates, or what was made of such scenes."""
    return bool(SightingLedger(out.ledger).sites()) or any(
        path for name in (FIRES, PATIENTS) for path in (out.root / name).glob("*")
    )
