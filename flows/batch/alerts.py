"""Alerts that were decided, as events of the Prefect server."""

from __future__ import annotations

import logging
from urllib.parse import unquote
from uuid import UUID

from flows.orchestration.current import orchestrator
from flows.orchestration.orchestrator import RunEvent, UnsentEventError
from tasks.out.fire_ledger import FireLedger, Message

logger = logging.getLogger(__name__)


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
    # Here, because few runs tell anything, and it brings scipy.
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


def _spray_event(message: Message, scene: str) -> RunEvent:
    return RunEvent(
        name="swathe.crop.spray",
        resource=f"swathe.crop.{scene}",
        title=message.payload["text"],
        labels={"swathe.scene": scene},
        payload=message.payload,
        id=UUID(message.id),
    )
