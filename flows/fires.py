"""Fires over nights at the end of a batch: events of every site, and alerts as Prefect events."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from uuid import UUID

from prefect.events import emit_event

from flows import steps
from models.errors import SwatheError
from tasks.answers.fire.settings import FireAnalysis
from tasks.fire_ledger import FireLedger, Message, Sighting
from tasks.outcome import SceneOutcome
from tasks.request import Request
from tasks.scenes.listing import Input
from tasks.scenes.naming import site_of

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
    patterns = request.job.source.dates
    sightings = [
        Sighting(item.id, item.site or site_of(item.id, patterns), item.date)
        for item in items
        if item.id in published and item.date is not None
    ]
    try:
        steps.fold_fires(request, request.job.analysis, sightings)
    except SwatheError as error:
        logger.error("fires are not followed over nights: %s", error)
    send_alerts(FireLedger(request.out.ledger))


def send_alerts(ledger: FireLedger) -> None:
    """Emit what was decided and not yet sent; sent again after a crash, an alert has the same id.

    Automations match ``swathe.fire.<rule>.raised`` and ``swathe.fire.<rule>.cleared``.
    """
    for message in ledger.unsent():
        rule, site, *_ = message.payload["key"].split("|")
        logger.warning("alert %s: %s", message.kind, message.payload["text"])
        emit_event(
            event=f"swathe.fire.{rule}.{message.kind}",
            resource={
                "prefect.resource.id": f"swathe.fire.{site}.{_subject(message)}",
                "prefect.resource.name": message.payload["text"],
                "swathe.site": site,
            },
            payload=message.payload,
            id=UUID(message.id),
        )
        ledger.mark_sent(message)


def _subject(message: Message) -> str:
    parts = message.payload["key"].split("|")
    return parts[2] if len(parts) > 2 else "site"
