"""The nightly flow: what is new in the inbox, each scene for itself, one page at the end."""

# No postponed annotations here: Prefect builds the form and the validation of a flow from the real ones.

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import cast

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Completed

from flows import steps
from flows.batch import Setup
from flows.figures import write_figures
from flows.nights import tell_end, tell_missed, tell_night
from flows.segment import run_batch
from tasks.fire_ledger import FireLedger
from tasks.job import load_job
from tasks.ledger import Ledger
from tasks.nights.arrivals import list_arrivals
from tasks.nights.night import Night, after_run, missed_nights
from tasks.nights.night_ledger import NightLedger
from tasks.nights.retention import is_kept, prune
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
    tonight = _tonight(order)
    request = make_request(job, order.out, order.model)
    ledger, nights = Ledger(request.out.ledger), NightLedger(request.out.ledger)
    fires = FireLedger(request.out.ledger)
    # How old things are is counted from the newest night, also when an earlier one is run again.
    newest = nights.newest()
    request = replace(request, today=tonight if newest is None else max(tonight, newest[0].date))
    is_past = request.today != tonight
    found = list_arrivals(order.inbox, job, tonight, nights.last(tonight))
    items = [item for item in found if is_kept(item.date, job.nightly.retention, request.today or tonight)]
    earlier = nights.night(tonight)
    night = earlier or Night(
        tonight,
        job.job,
        missed=() if is_past else missed_nights(nights.last(tonight), tonight),
        overdue_hours=job.nightly.overdue_hours,
    )
    if earlier is None and night.missed:
        tell_missed(night)
    had_product = {item.id for item in items if (known := ledger.product(item.id)) and known.product}
    told = fires.last_told()
    outcomes = run_batch(order, request, [item for item in items if not item.waits])
    after = after_run(night, items, outcomes, had_product)
    # What waits and what is unchanged now was not so then.
    night = night if earlier and is_past and after.scenes == night.scenes else after
    night = night.with_alerts(fires.told_after(told))
    _prune(request, items, request.today or tonight)
    nights.enter(night, steps.now())
    if night != earlier:
        write_night(request.out.root, job.title or job.job, night)
        tell_night(night, request.out.root)
    tell_end(night)
    write_figures(request.out)
    if not night.failed:
        return night
    # The run did its work, and its page shall not look as if all were well; whoever calls gets the night.
    message = f"{len(night.failed)} scenes failed"
    return cast("Night", Completed(name="FailedScenes", message=message, data=night))


def _tonight(order: Nightly) -> str:
    return (order.night or datetime.now(UTC).date()).isoformat()


def _prune(request: Request, items: Sequence[Input], today: str) -> None:
    dates = {item.id: item.date for item in items if item.date is not None}
    with request.out.locked():
        prune(request.out, request.job.nightly.retention, _dates_in_names(request) | dates, today, steps.now()[:10])


def _dates_in_names(request: Request) -> dict[str, str]:
    """Return the dates of products whose scenes have left the inbox, as far as their ids tell."""
    patterns = request.job.source.dates or USUAL_DATES
    names = [folder.name for folder in (request.out.root / ".products").glob("*")]
    return {name: max(dates) for name in names if (dates := dates_of(name, patterns).values())}
