"""The flow of a batch that a command segments on a Prefect server."""

# No postponed annotations here: Prefect builds the form and the validation of a flow from the real ones.

from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from flows.batch.orders import Batch
from flows.batch.segment import n_failed, segment_batch
from flows.server.prefect_orchestrator import on_prefect
from flows.server.states import ended, result_of
from tasks.out.outcome import SceneOutcome


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
    with on_prefect():
        outcomes = segment_batch(batch)
    return ended(outcomes, n_failed(outcomes), len(outcomes))


def segment_on_server(batch: Batch) -> list[SceneOutcome]:
    """Segment a batch as a run on the server, and return what came of it, also where no scene came out."""
    outcomes: list[SceneOutcome] = result_of(segment(batch, return_state=True))
    return outcomes
