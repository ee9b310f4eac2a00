"""The flow of batches that people submit: checked before, urgent ones first, one after the other in one folder."""

# No postponed annotations here: Prefect builds the form and the validation of a flow from the real ones.

import os
from contextlib import ExitStack
from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from flows.batch import steps
from flows.batch.orders import Submission
from flows.batch.segment import left_out_of, listed, n_failed, run_held
from flows.batch.waiting import take
from flows.orchestration.current import orchestrator
from flows.server.prefect_orchestrator import on_prefect
from flows.server.states import ended
from models.errors import SwatheError
from tasks.inputs.input import Input
from tasks.inputs.listing import taken
from tasks.intake.request import Request, make_request
from tasks.jobs.job import load_job
from tasks.out.manifest import is_manifest, read_manifest
from tasks.out.outcome import SceneOutcome

# The Dask scheduler that a worker's runs share.
CLUSTER = "SWATHE_CLUSTER"


def _run_name() -> str:
    """Return job and batch: what one searches for."""
    order = Submission.model_validate(flow_run.parameters["order"])
    try:
        job = load_job(order.job, order.all_overrides).job
    except SwatheError:
        # The run itself says what is wrong with it.
        job = Path(order.job).stem
    return f"{job} · {order.name or order.out.name}"


@flow(name="batch", flow_run_name=_run_name)
def batch(order: Submission) -> list[SceneOutcome]:
    """Segment the scenes that somebody submitted; one that fails leaves the others.

    Where another run holds the folder, this one waits for it. Urgent scenes are offered to that run meanwhile, which
    does them before its next routine scene where job, model and settings are the same.

    Raises:
        HeldFolderError: When the folder did not become free in time.
        SwatheError: When the job, the model or the cluster cannot be used at all.
    """
    with on_prefect():
        outcomes = _segment(order)
    return ended(outcomes, n_failed(outcomes), len(outcomes))


def _segment(order: Submission) -> list[SceneOutcome]:
    job = load_job(order.job, order.all_overrides)
    request = make_request(job, order.out, order.model)
    items, left_out = _listed(order, request)
    with ExitStack() as held:
        if not take(request, held):
            found = steps.wait_for_folder(request, order.wait_hours, items if order.urgent else (), held)
            if found is not None:
                _tell(request, found)
                return found
        return run_held(_on_cluster(order), request, items, left_out=left_out, urgent=order.urgent)


def _listed(order: Submission, request: Request) -> tuple[list[Input], list[Input]]:
    """Return the scenes to do, and those that the job leaves out; of a manifest whoever submitted has told these."""
    if len(order.inputs) == 1 and is_manifest(order.inputs[0]):
        return read_manifest(order.inputs[0]), []
    found = listed(order.inputs, request)
    return taken(found, request.job), left_out_of(found)


def _on_cluster(order: Submission) -> Submission:
    if order.cluster != "auto":
        return order
    return order.model_copy(update={"cluster": os.environ.get(CLUSTER) or "local"})


def _tell(request: Request, outcomes: list[SceneOutcome]) -> None:
    """Show on this run's page what another run made for it."""
    for outcome in outcomes:
        if outcome.status == "done":
            orchestrator().show_scene(request.job.job, outcome, request.out.root)
    orchestrator().show_batch(request.job.job, outcomes, request.out.root)
