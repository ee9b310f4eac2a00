"""What people and automations are told of a night."""

from __future__ import annotations

import logging
from uuid import UUID, uuid4

from flows.orchestration.current import orchestrator
from flows.orchestration.orchestrator import RunEvent, UnsentEventError
from tasks.nights.night import Night
from tasks.nights.night_ledger import NightLedger
from tasks.reports.night import counts

logger = logging.getLogger(__name__)


def tell_missed(job: str, ledger: NightLedger) -> None:
    """Send ``swathe.night.missed`` for every night without a run; what is not taken stays for the next run.

    Sent again, an event has the same id.
    """
    try:
        for missed, event in ledger.unsent():
            orchestrator().send(
                _event(
                    job,
                    missed,
                    kind="missed",
                    title=f"{job}: no run in the night of {missed}",
                    counted={},
                    event_id=UUID(event),
                )
            )
            ledger.mark_sent(missed)
    except UnsentEventError as error:
        logger.warning("%s: missed nights wait in %s for the next run: %s", job, ledger.path.name, error)


def tell_end(night: Night) -> None:
    """Send ``swathe.night.ended``; an automation that waits for it in vain tells of a missing night.

    One more run of a night sends it again: it says that the schedule lives.
    """
    counted = counts(night)
    text = ", ".join(f"{count} {name.lower()}" for name, count in counted.items() if count) or "nothing came"
    event = _event(
        night.job,
        night.date,
        kind="ended",
        title=f"{night.job}, night of {night.date}: {text}",
        counted=counted,
        event_id=uuid4(),
    )
    try:
        orchestrator().send(event)
    except UnsentEventError as error:
        logger.warning("%s, night of %s: the server could not be told that it ended: %s", night.job, night.date, error)


def _event(job: str, night: str, kind: str, title: str, counted: dict[str, int], event_id: UUID) -> RunEvent:
    return RunEvent(
        name=f"swathe.night.{kind}",
        resource=f"swathe.nightly.{job}",
        title=title,
        labels={"swathe.night": night},
        payload={"text": title, **counted},
        id=event_id,
    )
