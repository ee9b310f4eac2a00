"""Fires over nights at the end of a batch: events of every site, and alerts as Prefect events."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from urllib.parse import unquote
from uuid import UUID

from flows.batch import steps
from flows.orchestration.current import orchestrator
from flows.orchestration.orchestrator import RunEvent, UnsentEventError
from models.errors import SwatheError
from tasks.inputs.input import Input
from tasks.inputs.naming import FIRES
from tasks.intake.request import Request
from tasks.jobs.fire import FireAnalysis
from tasks.out.fire_ledger import FireLedger, Message
from tasks.out.folder import OutFolder
from tasks.out.outcome import SceneOutcome
from tasks.out.sightings import sighting_of

logger = logging.getLogger(__name__)


def follow_fires(request: Request, items: Sequence[Input], outcomes: Sequence[SceneOutcome]) -> None:
    """Fold the products of a batch into events, and tell what the job's rules ask for.

    A mistake here costs the events, never the products of the batch.

    Args:
        request: Names the job; nothing happens where its analysis is not about fires.
        items: Of the batch; those without a date cannot be followed.
        outcomes: Of the same scenes.
    """
    if not isinstance(request.job.analysis, FireAnalysis):
        return
    published = {outcome.scene for outcome in outcomes if outcome.status != "failed"}
    found = [sighting_of(request.job, item) for item in items if item.id in published]
    sightings = [one for one in found if one is not None]
    try:
        # What folds is not even imported where no scene ever had a date.
        if sightings or _is_any_followed(request.out):
            followed = steps.fold_fires(request, request.job.analysis, sightings)
            for problem in followed.problems:
                logger.error("%s", problem)
    except SwatheError as error:
        logger.error("fires are not followed over nights: %s", error)
    send_alerts(FireLedger(request.out.ledger))


def _is_any_followed(out: OutFolder) -> bool:
    return bool(FireLedger(out.ledger).sites()) or any((out.root / FIRES).glob("*"))


def _spray_event(message: Message, scene: str) -> RunEvent:
    return RunEvent(
        name="swathe.crop.spray",
        resource=f"swathe.crop.{scene}",
        title=message.payload["text"],
        labels={"swathe.scene": scene},
        payload=message.payload,
        id=UUID(message.id),
    )


def send_alerts(ledger: FireLedger) -> None:
    """Send what was decided and not yet sent; what a server does not take stays for the next run.

    Sent again, an alert has the same id. Automations match ``swathe.fire.<rule>.raised``,
    ``swathe.fire.<rule>.cleared`` and ``swathe.crop.spray``.
    """
    messages = ledger.unsent()
    for message in messages:
        logger.warning("alert %s: %s", message.kind, message.payload["text"])
    try:
        for message in messages:
            orchestrator().send(_event(message))
            ledger.mark_sent(message)
    except UnsentEventError as error:
        logger.warning("alerts could not be sent, and wait in %s for the next run: %s", ledger.path.name, error)


def _event(message: Message) -> RunEvent:
    from tasks.analysis.crop.spraying import RULE as SPRAY

    rule, site, *about = (unquote(part) for part in message.payload["key"].split("|"))
    if rule == SPRAY:
        return _spray_event(message, site)
    return RunEvent(
        name=f"swathe.fire.{rule}.{message.kind}",
        resource=f"swathe.fire.{site}.{about[0] if about else 'site'}",
        title=message.payload["text"],
        labels={"swathe.site": site},
        payload=message.payload,
        id=UUID(message.id),
    )
