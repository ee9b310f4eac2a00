"""The nightly flow: what is new in the inbox, each scene for itself, one page at the end."""

# No postponed annotations here: Prefect builds the form and the validation of a flow from the real ones.

import logging
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from flows import steps
from flows.batch import Setup
from flows.nights import tell_end, tell_missed, tell_night
from flows.segment import run_batch
from tasks.fire_ledger import FireLedger
from tasks.job import load_job
from tasks.ledger import Ledger
from tasks.nights.arrivals import list_arrivals
from tasks.nights.night import Night, after_run, missed_nights
from tasks.nights.night_ledger import NightLedger
from tasks.nights.retention import prune
from tasks.reports.night import write_night
from tasks.request import Request, make_request
from tasks.scenes.input import Input
from tasks.scenes.naming import USUAL_DATES, dates_of

logger = logging.getLogger(__name__)


class Nightly(Setup):
    """A night's work, as a schedule or a user says it.

    Attributes:
        inbox: Folder that scenes arrive in, or a STAC catalogue.
        night: Which night; today, in UTC, where left out.
    """

    inbox: str
    night: date | None = None


def _run_name() -> str:
    """Return job and night: what one searches for."""
    order = Nightly.model_validate(flow_run.parameters["order"])
    return f"{Path(order.job).stem} · night of {_tonight(order)}"


@flow(name="nightly", flow_run_name=_run_name)
def nightly(order: Nightly) -> Night:
    """Segment what is new since the last night; run again, it does nothing.

    Raises:
        SwatheError: When the job, the model, the inbox or the cluster cannot be used at all.
    """
    job = load_job(order.job, order.all_overrides)
    request = make_request(job, order.out, order.model)
    tonight, started = _tonight(order), steps.now()
    ledger, nights = Ledger(request.out.ledger), NightLedger(request.out.ledger)
    items = list_arrivals(order.inbox, job, tonight, nights.last(tonight))
    earlier = nights.night(tonight)
    night = earlier or Night(
        tonight,
        job.job,
        missed=missed_nights(nights.last(tonight), tonight),
        overdue_hours=job.nightly.overdue_hours,
    )
    if earlier is None and night.missed:
        tell_missed(night)
    had_product = {item.id for item in items if (known := ledger.product(item.id)) and known.product}
    outcomes = run_batch(order, request, [item for item in items if not item.waits])
    night = after_run(night, items, outcomes, had_product)
    night = night.with_alerts(FireLedger(request.out.ledger).told_since(started))
    _prune(request, items, tonight)
    nights.enter(night, steps.now())
    if night != earlier:
        write_night(request.out.root, job.title or job.job, night)
        tell_night(night, request.out.root)
    tell_end(night)
    return night


def _tonight(order: Nightly) -> str:
    return (order.night or datetime.now(UTC).date()).isoformat()


def _prune(request: Request, items: Sequence[Input], tonight: str) -> None:
    dates = {item.id: item.date for item in items if item.date is not None}
    with request.out.locked():
        prune(request.out, request.job.nightly.retention, _dates_in_names(request) | dates, tonight, steps.now()[:10])


def _dates_in_names(request: Request) -> dict[str, str]:
    """Return the dates of products whose scenes have left the inbox, as far as their ids tell."""
    patterns = request.job.source.dates or USUAL_DATES
    names = [folder.name for folder in (request.out.root / ".products").glob("*")]
    return {name: max(dates) for name in names if (dates := dates_of(name, patterns).values())}
