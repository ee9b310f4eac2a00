"""What is done at the end of a batch: fires are followed over nights, patients over dates; what to spray is told."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from flows.batch import steps
from flows.batch.fires import follow_fires, send_alerts
from models.errors import SwatheError
from tasks.analysis.trails import trails_of
from tasks.inputs.input import Input
from tasks.intake.request import Request
from tasks.jobs.crop import CropAnalysis
from tasks.jobs.tumour import TumourAnalysis
from tasks.out.fire_ledger import FireLedger
from tasks.out.outcome import SceneOutcome
from tasks.out.sightings import sighting_of
from tasks.reports.trail import Trail

logger = logging.getLogger(__name__)


def follow(request: Request, items: Sequence[Input], outcomes: Sequence[SceneOutcome]) -> tuple[Trail, ...]:
    """Follow what the job's kind of analysis follows, and return what there is to show of it.

    A mistake here costs what is followed, never the products of the batch.

    Args:
        request: Names the job.
        items: Of the batch; those without a date cannot be followed.
        outcomes: Of the same scenes.
    """
    follow_fires(request, items, outcomes)
    tell_spraying(request, outcomes)
    follow_patients(request, items, outcomes)
    try:
        return trails_of(request.out, request.job.analysis)
    except SwatheError as error:
        logger.error("what was followed is not on the page: %s", error)
        return ()


def tell_spraying(request: Request, outcomes: Sequence[SceneOutcome]) -> None:
    """Tell where weed outweighs crop, once per product; nothing happens where the job does not weigh weed."""
    if not isinstance(request.job.analysis, CropAnalysis) or not request.job.analysis.weed:
        return
    scenes = [outcome.scene for outcome in outcomes if outcome.status != "failed"]
    try:
        steps.decide_spraying(request, scenes)
    except SwatheError as error:
        logger.error("what has to be sprayed is not told: %s", error)
    send_alerts(FireLedger(request.out.ledger))


def follow_patients(request: Request, items: Sequence[Input], outcomes: Sequence[SceneOutcome]) -> None:
    """Compare the scans of every patient; nothing happens where the job's analysis is not about tumours."""
    if not isinstance(request.job.analysis, TumourAnalysis):
        return
    published = {outcome.scene for outcome in outcomes if outcome.status != "failed"}
    found = [sighting_of(request.job, item) for item in items if item.id in published]
    try:
        sightings = [one for one in found if one is not None]
        for problem in steps.follow_patients(request, request.job.analysis, sightings).problems:
            logger.error("%s", problem)
    except SwatheError as error:
        logger.error("patients are not followed over dates: %s", error)
