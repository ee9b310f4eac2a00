"""The main flow: a batch of scenes, each from its input to a published product."""

# No postponed annotations here: Prefect builds the form and the validation of a flow from the real ones.

import logging
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Completed
from rich.console import Console

from flows import steps
from flows.artifacts import MOST_PICTURES, tell_batch
from flows.batch import Batch, Setup
from flows.cluster import ClusterSettings, open_engine
from flows.following import follow
from flows.progress import BatchProgress
from models.errors import SwatheError
from tasks.fingerprint import Fingerprint
from tasks.job import load_job
from tasks.ledger import Ledger, ProductRow
from tasks.outcome import SceneOutcome, write_batch
from tasks.products.finish import begin_product
from tasks.reports.index import write_index
from tasks.request import Request, make_request
from tasks.scenes.input import Input
from tasks.scenes.listing import list_inputs
from tasks.segment.graph import Engine
from tasks.segment.plan import Slot
from tasks.segment.prepare import Prepared, plan_summary
from tasks.sightings import sighting_of
from tasks.verdict import Verdict

logger = logging.getLogger(__name__)

# One scene is finished and published while the next one is already segmented.
_SCENES_AT_ONCE = 2


@dataclass(frozen=True)
class _Run:
    """What the scenes of one run share."""

    id: str
    request: Request
    engine: Engine
    slot: Slot
    progress: BatchProgress
    pictured: frozenset[str]


def _run_name() -> str:
    """Return job and folder by their names: a path to a job file says too much for a list of runs."""
    batch = Batch.model_validate(flow_run.parameters["batch"])
    return f"{Path(batch.job).stem} · {batch.out.name}"


@flow(name="segment", flow_run_name=_run_name)
def segment(batch: Batch) -> list[SceneOutcome]:
    """Segment a batch of scenes; one that fails leaves the others.

    Raises:
        SwatheError: When the job, the model or the cluster cannot be used at all.
    """
    job = load_job(batch.job, batch.all_overrides)
    request = make_request(job, batch.out, batch.model)
    items = list_inputs(batch.inputs, job)
    outcomes = run_batch(batch, request, items)
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    if not failed:
        return outcomes
    # The run did its work, and its page shall not look as if all were well; whoever calls gets the outcomes.
    message = f"{failed} of {len(outcomes)} scenes failed"
    return cast("list[SceneOutcome]", Completed(name="FailedScenes", message=message, data=outcomes))


def run_batch(setup: Setup, request: Request, items: list[Input]) -> list[SceneOutcome]:
    """Segment what was found, and tell how it went.

    Args:
        setup: On which cluster.
        request: The job, its model and OUT.
        items: Scenes; those that cannot be used fail by name.

    Raises:
        SwatheError: When OUT or the cluster cannot be used at all.
    """
    run_id = uuid.uuid4().hex
    with request.out.locked():
        ledger = Ledger(request.out.ledger)
        ledger.begin_run(run_id, request.job.job, steps.now())
        outcomes = _segment_all(setup, request, items, run_id)
        failed = sum(outcome.status == "failed" for outcome in outcomes)
        ledger.end_run(run_id, "failed scenes" if failed else "done", steps.now())
        trails = follow(request, items, outcomes)
        write_batch(request.out.root, request.job.job, outcomes)
        write_index(request.out.root, request.job.title or request.job.job, outcomes, trails)
        tell_batch(request.job.job, outcomes, request.out.root, trails)
    return outcomes


def _segment_all(setup: Setup, request: Request, items: list[Input], run_id: str) -> list[SceneOutcome]:
    verdicts = steps.check(request.job.job, request, items)
    outcomes: dict[str, SceneOutcome] = {}
    fresh: list[tuple[Input, Fingerprint]] = []
    for item, verdict in zip(items, verdicts, strict=True):
        triaged = _triage(request, item, verdict, run_id)
        if isinstance(triaged, SceneOutcome):
            outcomes[item.id] = triaged
        else:
            fresh.append((item, triaged))
    if fresh:
        outcomes |= {outcome.scene: outcome for outcome in _segment_fresh(setup, request, fresh, run_id)}
    return [outcomes[item.id] for item in items]


def _triage(request: Request, item: Input, verdict: Verdict, run_id: str) -> SceneOutcome | Fingerprint:
    """Return a scene's outcome where there is nothing to do, else what identifies it."""
    if not verdict.go:
        return _failed(request, item, f"{verdict.error}: {verdict.message}", run_id)
    try:
        fingerprint = steps.identify_input(request, item)
    except Exception as error:
        # Whatever it is, it costs this scene only.
        logger.debug("%s: could not be identified", item.id, exc_info=True)
        return _failed(request, item, _named(error), run_id)
    return steps.skipped(request, item, fingerprint) or fingerprint


def _segment_fresh(
    setup: Setup, request: Request, fresh: list[tuple[Input, Fingerprint]], run_id: str
) -> list[SceneOutcome]:
    settings = _cluster_settings(setup, request)
    with open_engine(settings) as engine, BatchProgress(Console(stderr=True)).shown() as progress:
        pictured = frozenset(item.id for item, _ in fresh[:MOST_PICTURES])
        slot = steps.measure(engine, request, settings.n_threads)
        run = _Run(run_id, request, engine, slot, progress, pictured)
        with ThreadPoolExecutor(_SCENES_AT_ONCE, thread_name_prefix="scene") as pool:
            # Prefect finds the flow that a task belongs to in the context.
            futures = [pool.submit(copy_context().run, _segment_one, run, item, found) for item, found in fresh]
            try:
                return [future.result() for future in futures]
            except BaseException:
                # Interrupted or cancelled: the scenes that have not begun shall not.
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _segment_one(run: _Run, item: Input, fingerprint: Fingerprint) -> SceneOutcome:
    try:
        prepared = steps.plan(run.request, item, fingerprint, run.slot, run.engine.n_slots)
        logger.info("%s: %s", item.id, plan_summary(prepared.work.plan))
        reports = steps.segment_scene(run.engine, prepared, run.progress)
        folder, headline = _make_product(run, prepared)
        sighting = sighting_of(run.request.job, item)
        facts = steps.RunFacts(run.id, headline, tuple(reports), item.id in run.pictured, sighting)
        return steps.publish(run.request, prepared, folder, facts)
    except SwatheError as error:
        return _failed(run.request, item, _named(error), run.id)
    except Exception as error:
        # Whatever it is, it costs this scene only.
        logger.debug("%s: failed in a way that was not foreseen", item.id, exc_info=True)
        return _failed(run.request, item, _named(error), run.id)


def _make_product(run: _Run, prepared: Prepared) -> tuple[Path, dict[str, Any]]:
    """Finish and analyse side by side: both read the store, and neither what the other writes."""
    folder = begin_product(prepared)
    with ThreadPoolExecutor(1, thread_name_prefix="finish") as pool:
        finished = pool.submit(copy_context().run, steps.finish, run.engine, run.request, prepared, folder)
        headline = steps.analyse(run.engine, run.request, prepared, folder)
        finished.result()
    return folder, headline


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _failed(request: Request, item: Input, error: str, run_id: str) -> SceneOutcome:
    """Enter a failure into the ledger; an earlier product stays where it is."""
    error = item.pseudonymised(error)
    logger.error("%s: %s", item.id, error)
    ledger = Ledger(request.out.ledger)
    known = ledger.product(item.id)
    ledger.record(ProductRow(item.id, "", known.product if known else None, "failed", error, {}), run_id, steps.now())
    return SceneOutcome(item.id, "failed", error)


def _cluster_settings(setup: Setup, request: Request) -> ClusterSettings:
    threads = request.job.run.threads
    return ClusterSettings(
        address=setup.cluster,
        workers=setup.workers,
        device=request.job.run.device,
        threads=None if threads == "auto" else threads,
        scratch=request.out.scratch / "dask",
        preload=_needed(request),
    )


def _needed(request: Request) -> tuple[str, ...]:
    """Return the modules that blocks and products need; torch only where there is a network."""
    network = () if request.card.weights is None else ("models.torch_predictor",)
    kinds = {"raster": "area", "volume": "tumour"}
    kind = request.job.analysis.kind if request.job.analysis else kinds[request.job.kind]
    return ("tasks.segment.block", "tasks.products.finish", f"tasks.analysis.{kind}", *network)
