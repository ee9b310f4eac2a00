"""What ``swathe submit`` does: a batch is checked here and queued on a Prefect server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from flows.batch.orders import Submission
from models.errors import SwatheError
from tasks.inputs.input import Input
from tasks.inputs.listing import list_inputs
from tasks.intake.request import Request
from tasks.verdict.check import check_inputs
from tasks.verdict.verdict import Verdict

_DEPLOYMENT = "batch/batch"


@dataclass(frozen=True)
class Checked:
    """Scenes by what headers say of them.

    Attributes:
        accepted: Those that can be segmented.
        refused: Verdicts on the others.
    """

    accepted: tuple[Input, ...]
    refused: tuple[Verdict, ...]

    @property
    def n_inputs(self) -> int:
        """Both together."""
        return len(self.accepted) + len(self.refused)


@dataclass(frozen=True)
class Queued:
    """A run that waits on the server.

    Attributes:
        id: Of the run.
        page: Its address.
        queue: Where it waits.
    """

    id: str
    page: str
    queue: str


def check_batch(request: Request, inputs: Sequence[str]) -> Checked:
    """Look at headers.

    Args:
        request: Job and model that the scenes are for.
        inputs: Files, folders or CSV tables.

    Raises:
        JobError: When the inputs cannot be listed.
    """
    items = list_inputs(inputs, request.job, request.card.n_channels)
    verdicts = check_inputs(items, request.job, request.card.channels, request.card)
    accepted = tuple(item for item, verdict in zip(items, verdicts, strict=True) if verdict.go)
    return Checked(accepted, tuple(verdict for verdict in verdicts if not verdict.go))


def queue_of(order: Submission) -> str:
    """Return the queue of a batch; one of them is for what computes on the Prefect worker's own machine."""
    if order.urgent:
        return "urgent"
    return "gpu" if order.cluster == "local" else "routine"


def queue_run(order: Submission, job: str) -> Queued:
    """Queue a run of the deployment ``batch``.

    Args:
        order: Its parameters.
        job: Name of the job, for the run's tags.

    Raises:
        SwatheError: When the server does not take it.
    """
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectException

    queue = queue_of(order)
    with get_client(sync_client=True) as client:
        try:
            deployment = client.read_deployment_by_name(_DEPLOYMENT)
            run = client.create_flow_run_from_deployment(
                deployment.id,
                parameters={"order": order.model_dump(mode="json")},
                name=f"{job} · {order.name}",
                tags=[job, queue],
                work_queue_name=queue,
            )
        except (PrefectException, httpx.HTTPError) as error:
            raise SwatheError(
                f"{client.api_url}: the batch could not be queued ({error}). The server needs the deployments of "
                "flows/prefect.yaml and PREFECT_API_AUTH_STRING its user and password; swathe up brings both"
            ) from error
    address = urlsplit(str(client.api_url))
    return Queued(str(run.id), f"{address.scheme}://{address.netloc}/runs/flow-run/{run.id}", queue)
