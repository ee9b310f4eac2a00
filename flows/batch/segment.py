"""A batch of scenes, each from its input to a published product."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import replace
from threading import Event

from rich.console import Console

from flows.batch import steps
from flows.batch.auditing import run_began, run_ended
from flows.batch.figures import Figures, write_figures
from flows.batch.following import follow
from flows.batch.freeing import free_inputs, require_freed
from flows.batch.line import Fresh, Line
from flows.batch.orders import Batch, Setup
from flows.batch.receiving import people_of, receive
from flows.batch.scene import Run, segment_one
from flows.batch.triage import triage
from flows.batch.urgent import Arrivals
from flows.batch.workers import cluster_settings
from flows.cluster.engine import open_engine
from flows.cluster.storage import shared_storage
from flows.display.logs import about, set_up_where_asked
from flows.display.progress import BatchProgress
from flows.orchestration.current import orchestrator
from flows.orchestration.interruption import interruption
from models.errors import SwatheError
from tasks.errors import JobError
from tasks.inputs.input import Input
from tasks.inputs.listing import list_all_inputs, taken
from tasks.intake.expectation import expect
from tasks.intake.request import Request, make_request
from tasks.jobs.job import load_job
from tasks.out.ledger import Ledger
from tasks.out.outcome import SceneOutcome, write_batch
from tasks.reports.index import write_index
from tasks.segment.graph import URGENT

logger = logging.getLogger(__name__)

# One scene is finished and published while the next one is already segmented.
_SCENES_AT_ONCE = 2
# Urgent scenes that begin at once although routine ones fill these places.
_URGENT_BESIDE = 1
# How often the run looks for what has arrived.
_LOOKING_S = 1.0


def segment_batch(batch: Batch) -> list[SceneOutcome]:
    """Segment a batch of scenes; one that fails leaves the others.

    Raises:
        SwatheError: When the job, the model or the cluster cannot be used at all.
    """
    job = load_job(batch.job, batch.all_overrides)
    request = make_request(job, batch.out, batch.model)
    found = listed(batch.inputs, request)
    return run_batch(batch, request, taken(found, job), left_out=left_out_of(found))


def listed(inputs: Sequence[str], request: Request) -> list[Input]:
    """Return the scenes of a flow's inputs, those that its job leaves out among them.

    What Prefect keeps of an error names none of their files.

    Raises:
        JobError: When they cannot be listed.
    """
    try:
        freed = require_freed(free_inputs(inputs, request), request).inputs
        return list_all_inputs(freed, request.job, request.card.n_channels, people_of(request))
    except SwatheError as error:
        # Its text names files; on a terminal that is no harm.
        raise JobError(
            f"the inputs cannot be listed ({type(error).__name__}); swathe check with the same inputs says why"
        ) from None


def left_out_of(found: Iterable[Input]) -> list[Input]:
    """Return those scenes that a job leaves out."""
    return [item for item in found if item.left_out]


def run_batch(
    setup: Setup, request: Request, items: list[Input], *, left_out: Sequence[Input] = (), urgent: bool = False
) -> list[SceneOutcome]:
    """Segment what was found, and tell how it went.

    Args:
        setup: On which cluster.
        request: The job, its model and OUT.
        items: Scenes; those that cannot be used fail by name.
        left_out: Scenes that the job does not take, for the worklist.
        urgent: Whether their blocks go before those of others on a running cluster.

    Raises:
        HeldFolderError: When another run is writing into OUT.
        SwatheError: When OUT or the cluster cannot be used at all.
    """
    with request.out.locked():
        return run_held(setup, request, items, left_out=left_out, urgent=urgent)


def run_held(
    setup: Setup, request: Request, items: list[Input], *, left_out: Sequence[Input] = (), urgent: bool = False
) -> list[SceneOutcome]:
    """Do what ``run_batch`` does in a folder that the caller holds already.

    Urgent scenes of others that arrive for the same folder and job are done as well, and are in its tables.
    """
    run_id = uuid.uuid4().hex
    set_up_where_asked()
    with orchestrator().attended(request.out), about("run", run_id):
        return _run(setup, request, items, run_id, left_out=left_out, urgent=urgent)


def _run(
    setup: Setup, request: Request, items: list[Input], run_id: str, *, left_out: Sequence[Input], urgent: bool
) -> list[SceneOutcome]:
    ledger = Ledger(request.out.ledger)
    # Before it begins: from then on it is to be told how it ends.
    interruption.write_down("ledger", lambda text: ledger.end_run(run_id, text, steps.now()))
    ledger.begin_run(run_id, request.job.job, steps.now())
    try:
        run_began(request, run_id, steps.now())
        receive(request, [*items, *left_out], (), steps.now())
        write_figures(request.out)
        arrivals = _segment_all(setup, request, items, run_id, urgent=urgent)
        outcomes = [arrivals.outcomes[item.id] for item in items]
        _report(request, arrivals, outcomes)
        ledger.end_run(run_id, "failed scenes" if n_failed(outcomes) else "done", steps.now())
        run_ended(request, run_id, steps.now(), outcomes)
    except BaseException:
        # Cancelled, or no cluster: whoever asks shall not be told that it runs.
        ledger.end_run(run_id, interruption.text, steps.now())
        raise
    write_figures(request.out)
    return outcomes


def _report(request: Request, arrivals: Arrivals, outcomes: Sequence[SceneOutcome]) -> None:
    """Follow what is followed over runs, and write what people look at."""
    done = [(item, arrivals.outcomes[name]) for name, item in arrivals.items.items() if name in arrivals.outcomes]
    everything = [outcome for _, outcome in done]
    trails = follow(request, [item for item, _ in done], everything)
    write_batch(request.out.root, request.job.job, everything)
    write_index(request.out.root, request.job.title or request.job.job, everything, trails)
    orchestrator().show_batch(request.job.job, outcomes, request.out.root, trails)


def n_failed(outcomes: Sequence[SceneOutcome]) -> int:
    """Count the scenes without a product of this request."""
    return sum(outcome.status == "failed" for outcome in outcomes)


def _segment_all(setup: Setup, request: Request, items: list[Input], run_id: str, *, urgent: bool) -> Arrivals:
    outcomes, fresh = triage(request, items, run_id)
    arrivals = Arrivals.of(request, run_id, items, outcomes)
    if fresh:
        _segment_fresh(setup, arrivals, [replace(scene, urgent=urgent) for scene in fresh])
    return arrivals


def _segment_fresh(setup: Setup, arrivals: Arrivals, fresh: list[Fresh]) -> None:
    request = arrivals.request
    priority = URGENT if fresh[0].urgent else 0
    settings = replace(cluster_settings(setup, request), priority=priority)
    line = Line(fresh)
    logger.info("%s", _order_text(fresh, request))
    with (
        shared_storage(request, [scene.item for scene in fresh]) as shared,
        open_engine(replace(settings, shared=shared)) as engine,
        BatchProgress(Console(stderr=True), len(fresh)).shown() as progress,
    ):
        slot = steps.measure(engine, request, settings.n_threads)
        run = Run(id=arrivals.run_id, request=request, engine=engine, slot=slot, progress=progress, stopping=Event())
        with ThreadPoolExecutor(_SCENES_AT_ONCE + _URGENT_BESIDE, thread_name_prefix="scene") as pool:
            try:
                _work_off(run, line, arrivals, pool)
            except BaseException:
                # Interrupted or cancelled: what has not begun shall not, and what waits for blocks shall not wait.
                run.stopping.set()
                engine.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _work_off(run: Run, line: Line, arrivals: Arrivals, pool: ThreadPoolExecutor) -> None:
    """Begin a scene whenever there is room for one, until all have ended."""
    running: dict[Future[SceneOutcome], Fresh] = {}
    figures = Figures(run.request.out)
    while True:
        arrivals.admit(line)
        while (scene := _next(line, running.values())) is not None:
            # The orchestrator of the run is found in the context, and by Prefect the flow that a task belongs to.
            running[pool.submit(copy_context().run, segment_one, run, scene)] = scene
        figures.tell(len(line), len(running))
        if not running:
            return
        for future in wait(running, timeout=_LOOKING_S, return_when=FIRST_COMPLETED).done:
            del running[future]
            outcome = future.result()
            arrivals.tell(outcome)
            run.progress.scene_ended()


def _next(line: Line, running: Collection[Fresh]) -> Fresh | None:
    """Return the scene that there is room for; an urgent one finds some beside routine ones."""
    if len(running) < _SCENES_AT_ONCE:
        return line.take()
    room = len(running) < _SCENES_AT_ONCE + _URGENT_BESIDE and not all(scene.urgent for scene in running)
    return line.take(urgent_only=True) if room else None


def _order_text(fresh: Sequence[Fresh], request: Request) -> str:
    known = [scene.pixels for scene in fresh if scene.pixels is not None]
    expected = [expect([pixels], request.card, 1).slot_s for pixels in known]
    seconds = [one for one in expected if one is not None]
    minutes = sum(seconds) / 60
    # What takes less is mostly spent on starting.
    time = f", about {round(minutes)} min of one slot" if minutes >= 1 else ""
    if len(fresh) == 1:
        return f"1 scene to do{time}{'; urgent' if fresh[0].urgent else ''}"
    order = "urgent" if fresh[0].urgent else "the cheapest first, urgent ones that arrive before them"
    return f"{len(fresh)} scenes to do{time}; {order}"
