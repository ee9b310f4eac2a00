"""What ``swathe submit`` does: a batch is checked here and queued on a Prefect server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from flows.batch.orders import Submission
from flows.batch.receiving import people_of, receive
from models.errors import SwatheError
from tasks.inputs.input import Input
from tasks.inputs.listing import list_all_inputs, taken
from tasks.intake.request import Request
from tasks.nights.worklist import write_worklist
from tasks.out.ledger import Ledger
from tasks.verdict.check import check_inputs
from tasks.verdict.verdict import Verdict

_DEPLOYMENT = "batch/batch"


@dataclass(frozen=True)
class Checked:
    """Scenes by what headers say of them.

    Attributes:
        accepted: Those that can be segmented.
        refused: The others, each with its verdict.
        left_out: Those that the job does not take.
    """

    accepted: tuple[Input, ...]
    refused: tuple[tuple[Input, Verdict], ...]
    left_out: tuple[Input, ...] = ()

    @property
    def n_inputs(self) -> int:
        """How many the job takes."""
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
    found = list_all_inputs(inputs, request.job, request.card.n_channels, people_of(request))
    items = taken(found, request.job)
    verdicts = check_inputs(items, request.job, request.card.channels, request.card)
    checked = list(zip(items, verdicts, strict=True))
    return Checked(
        accepted=tuple(item for item, verdict in checked if verdict.go),
        refused=tuple((item, verdict) for item, verdict in checked if not verdict.go),
        left_out=tuple(item for item in found if item.left_out),
    )


def enter(request: Request, checked: Checked, now: str) -> None:
    """Enter a batch that was checked into the worklist of its folder.

    Raises:
        StoreError: When the folder belongs to another job, or cannot be written to.
    """
    Ledger(request.out.ledger).require_job(request.job.job)
    refused = [(item, f"{verdict.error}: {verdict.message}") for item, verdict in checked.refused]
    receive(request, [*checked.accepted, *checked.left_out], refused, now)
    write_worklist(request.out)


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
