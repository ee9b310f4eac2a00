"""A night's work: what is new in the inbox, each scene for itself, one page at the end."""

# No postponed annotations here: Prefect builds the form of the nightly flow from the real ones of ``Nightly``.

import logging
from collections.abc import Container, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import date
from pathlib import Path

from pydantic import Field

from flows.batch import steps
from flows.batch.figures import write_figures
from flows.batch.freeing import Freed, free_inputs
from flows.batch.orders import Setup
from flows.batch.receiving import people_of, refused_series
from flows.batch.segment import run_held
from flows.batch.waiting import take
from flows.nightly.telling import tell_end, tell_missed
from flows.orchestration.current import orchestrator
from tasks.inputs.input import Input
from tasks.intake.request import Request, make_request
from tasks.jobs.job import load_job
from tasks.nights.arrivals import dates_of_products, list_arrivals, require_dates
from tasks.nights.night import Night, after_run, missed_nights, require_begun
from tasks.nights.night_ledger import NightLedger, Told
from tasks.nights.retention import is_kept, n_products, prune
from tasks.out.fire_ledger import FireLedger
from tasks.out.folder import OutFolder
from tasks.out.ledger import Ledger
from tasks.out.outcome import SceneOutcome
from tasks.reports.night import write_night

logger = logging.getLogger(__name__)


class Nightly(Setup):
    """A night's work, as a schedule or a user says it."""

    inbox: str = Field(description="Folder that scenes arrive in, or a STAC catalogue: catalog.json or URL.")
    night: date | None = Field(default=None, description="Which night; today, in UTC, where left out.")
    wait_hours: float = Field(
        default=12,
        ge=0,
        le=24 * 14,
        description="How long to wait while another run holds the folder, such as that of the night before.",
    )

    @property
    def tonight(self) -> str:
        """The night as a date; today, in UTC, where none was named."""
        return _today() if self.night is None else self.night.isoformat()


def newest_night(out: Path) -> tuple[Night, str] | None:
    """Return the newest night of a folder, and when its last run ended; None where there was none."""
    ledger = OutFolder(out).ledger
    return NightLedger(ledger).newest(_today()) if ledger.is_file() else None


def run_night(order: Nightly) -> Night:
    """Segment what is new since the last night; run again, it does nothing.

    Where another run holds OUT, this one waits for it: what is new is looked up afterwards.

    Raises:
        HeldFolderError: When OUT did not become free in time.
        JobError: When the night has not come yet, or the job deletes by dates that nothing tells.
        SwatheError: When the job, the model, the inbox or the cluster cannot be used at all.
    """
    require_begun(order.tonight, _today())
    job, tonight = load_job(order.job, order.all_overrides), order.tonight
    require_dates(order.inbox, job)
    request = make_request(job, order.out, order.model)
    with ExitStack() as held:
        if not take(request, held):
            steps.wait_for_folder(request, order.wait_hours, (), held)
        return _do(order, request, tonight)


def _do(order: Nightly, request: Request, tonight: str) -> Night:
    job, nights = request.job, NightLedger(request.out.ledger)
    nights.begin(steps.now(), job.nightly.overdue_hours)
    # How old things are is counted from the newest night, also when an earlier one is run again; never from one that
    # a wrong clock dated ahead.
    newest = nights.newest(_today())
    request = replace(request, today=tonight if newest is None else max(tonight, newest[0].date))
    is_past = request.today != tonight
    freed = Freed([order.inbox], ()) if job.deidentify is None else free_inputs([order.inbox], request)
    found = list_arrivals(
        order.inbox if job.deidentify is None else request.out.keep_inputs(freed.inputs),
        job,
        tonight=tonight,
        last=nights.last(tonight),
        n_channels=request.card.n_channels,
        people=people_of(request),
    )
    items = [item for item in found if is_kept(item.date, job.nightly.retention, request.today or tonight)]
    earlier = nights.night(tonight)
    night = earlier or _begin(request, tonight, () if is_past else missed_nights(nights.last(tonight), tonight))
    tell_missed(job.job, nights)
    told = nights.told(_reached(request))
    untold = nights.made_after(told.run)
    after = _segment(order, request, night=night, items=items, untold=untold, freed=freed).with_alerts(
        FireLedger(request.out.ledger).told_after(told.alert)
    )
    # What waits and what is unchanged now was not so then.
    night = replace(night, alerts=after.alerts) if earlier and is_past and after.scenes == night.scenes else after
    reached = _reached(request)
    if is_past and not untold <= {item.id for item in items}:
        # Those of later days are for a later night's page: rather there with what this run made than on none.
        reached = replace(reached, run=told.run)
    _tell(request, night, earlier, reached)
    _prune(order, request, found, request.today or tonight)
    tell_end(night)
    write_figures(request.out)
    return night


def _begin(request: Request, tonight: str, missed: tuple[str, ...]) -> Night:
    NightLedger(request.out.ledger).miss(missed)
    return Night(date=tonight, job=request.job.job, missed=missed, overdue_hours=request.job.nightly.overdue_hours)


def _segment(
    order: Nightly, request: Request, night: Night, items: list[Input], untold: frozenset[str], freed: Freed
) -> Night:
    """Do what does not wait; return the night with that, and with products that no page tells of."""
    had_product = {item.id for item in items if _had_product(request, item.id, untold)}
    outcomes = run_held(order, request, [item for item in items if not item.waits])
    for refused in refused_series(freed.verdicts):
        items = [*items, Input(id=refused.scene, files={})]
        outcomes = [*outcomes, SceneOutcome(scene=refused.scene, status="failed", error=refused.reason)]
    return after_run(night, items, outcomes=outcomes, had_product=had_product, untold=untold)


def _tell(request: Request, night: Night, earlier: Night | None, reached: Told) -> None:
    job, root = request.job, request.out.root
    if night != earlier:
        # Before the ledger: a night that dies between the two is not taken for one whose page is written.
        write_night(root, job.title or job.job, night)
    NightLedger(request.out.ledger).enter(night, steps.now(), reached)
    if night != earlier:
        orchestrator().show_night(night, root)


def _had_product(request: Request, scene: str, untold: Container[str]) -> bool:
    """Tell whether a scene had a product when the last page was written."""
    known = Ledger(request.out.ledger).product(scene)
    if known is None or known.product is None:
        return False
    # What a product replaced is deleted after its night has its page, and not before.
    return scene not in untold or n_products(request.out, scene) > 1


def _reached(request: Request) -> Told:
    ledger = request.out.ledger
    return Told(NightLedger(ledger).last_run(), FireLedger(ledger).last_told())


def _today() -> str:
    return steps.now()[:10]


def _prune(order: Nightly, request: Request, items: Sequence[Input], today: str) -> None:
    names = [folder.name for folder in (request.out.root / ".products").glob("*")]
    dates = dates_of_products(order.inbox, request.job, items, names)
    prune(request.out, request.job.nightly.retention, dates=dates, tonight=today, today=steps.now()[:10])
