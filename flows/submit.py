"""``swathe submit``: a batch is checked here and queued on a Prefect server."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer
from rich.text import Text

from flows import tables
from flows.local.commands import HOME, Home
from flows.local.up import left_running
from flows.options import FAILED_SCENES, OUT, DeviceChoice, Inputs, JobName, ModelName, OutFolder, Overrides, Workers
from flows.profiles import apply_profile, load_prefect
from flows.server import require_server
from models.errors import SwatheError
from models.registry import is_named
from tasks.errors import JobError
from tasks.job import load_job
from tasks.job_file import is_shipped
from tasks.outfolder import OutFolder as Folder
from tasks.request import Request, make_request
from tasks.scenes.input import Input
from tasks.scenes.listing import list_inputs
from tasks.scenes.manifest import keep_manifest
from tasks.verdict import Verdict, check_inputs

if TYPE_CHECKING:
    from flows.batch import Submission

_DEPLOYMENT = "batch/batch"
# As long as a submission's may be.
_NAME_LENGTH = 80


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


def submit_command(  # noqa: PLR0913 - one argument per option of the command
    inputs: Inputs,
    job: JobName,
    out: OutFolder,
    urgent: Annotated[bool, typer.Option("--urgent", help="Before routine scenes, also of a run under way.")] = False,
    name: Annotated[str | None, typer.Option(help="What the run is called behind the job's name.")] = None,
    model: ModelName = None,
    cluster: Annotated[str, typer.Option(help="auto, local, or the address of a Dask scheduler.")] = "auto",
    workers: Workers = None,
    device: DeviceChoice = None,
    wait_hours: Annotated[float, typer.Option(help="How long to wait while another run holds the folder.")] = 24,
    overrides: Overrides = None,
    home: Home = HOME,
) -> None:
    """Check a batch and queue it on the Prefect server; exit code 1 where some of it was refused."""
    settings = (*(overrides or ()), *(() if device is None else (f"run.device={device}",)))
    request = make_request(load_job(job, settings), out, model)
    checked = check_batch(request, inputs)
    for line in tables.refusals(checked.refused):
        OUT.print(line, soft_wrap=True)
    if not checked.accepted:
        raise JobError(f"none of {checked.n_inputs} inputs can be segmented; nothing was submitted")
    use_server(home.resolve())
    from flows.batch import Submission

    order = Submission(
        inputs=[keep_manifest(Folder(out.resolve()), checked.accepted)],
        job=job if is_shipped(job) else _absolute(job),
        out=out.resolve(),
        model=model if not model or is_named(model) else _absolute(model),
        overrides=overrides or [],
        cluster=cluster,
        workers=workers,
        device=device,
        name=name or _name(checked.accepted, out),
        urgent=urgent,
        wait_hours=wait_hours,
    )
    queued = queue_run(order, request.job.job)
    told = f"{len(checked.accepted)} of {checked.n_inputs} scenes submitted"
    OUT.print(Text(f"{told} to the queue '{queued.queue}', run {queued.id}"), soft_wrap=True)
    OUT.print(Text(queued.page), soft_wrap=True)
    if checked.refused:
        raise typer.Exit(FAILED_SCENES)


def check_batch(request: Request, inputs: Sequence[str]) -> Checked:
    """Look at headers.

    Args:
        request: Job and model that the scenes are for.
        inputs: Files, folders or CSV tables.

    Raises:
        JobError: When the inputs cannot be listed, or two scenes have one id.
    """
    items = list_inputs(inputs, request.job)
    verdicts = check_inputs(items, request.job, request.card.channels)
    accepted = tuple(item for item, verdict in zip(items, verdicts, strict=True) if verdict.go)
    return Checked(accepted, tuple(verdict for verdict in verdicts if not verdict.go))


def use_server(home: Path) -> None:
    """Choose the server that ``PREFECT_API_URL`` names, or else the one that ``swathe up`` left running.

    Must come before Prefect is imported.

    Raises:
        SwatheError: When there is none, or it does not answer.
    """
    if not os.environ.get("PREFECT_API_URL"):
        running = left_running(home)
        if running is None:
            raise SwatheError(
                "no Prefect server to submit to. Name one in PREFECT_API_URL, start one with: swathe up, or run the "
                "batch here with: swathe segment"
            )
        os.environ.update(running)
    apply_profile("client")
    require_server()
    load_prefect()


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


def _name(items: Sequence[Input], out: Path) -> str:
    """Return what one searches for: a scene's site and date, or where a batch goes and how large it is."""
    if len(items) == 1:
        (item,) = items
        return _shortened(item.site or item.id, f" · {item.date}" if item.date else "")
    return _shortened(out.resolve().name, f" · {len(items)} scenes")


def _shortened(name: str, behind: str) -> str:
    room = _NAME_LENGTH - len(behind)
    return (name if len(name) <= room else f"{name[: room - 1]}…") + behind


def _absolute(path: str) -> str:
    """The worker has a working directory of its own."""
    return str(Path(path).resolve())
