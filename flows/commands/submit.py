"""``swathe submit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.deidentify import verdict_table
from flows.commands.options import (
    FAILED_SCENES,
    HOME,
    OUT,
    DeviceChoice,
    Home,
    Inputs,
    JobName,
    ModelName,
    OutFolder,
    Overrides,
    Strict,
    Workers,
)
from flows.display.told import Told, tell, tell_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.inputs.input import Input

# As long as a submission's may be.
_NAME_LENGTH = 80


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
    strict: Strict = False,
    overrides: Overrides = None,
    home: Home = HOME,
) -> None:
    """Check a batch and queue it on the Prefect server; exit code 1 where some of it was refused."""
    from flows.batch.freeing import free_inputs, require_freed
    from flows.batch.orders import Submission, all_overrides
    from flows.batch.queueing import check_batch, enter, queue_run
    from flows.batch.steps import now
    from flows.commands import tables
    from flows.commands.orchestrated import use_server
    from models.errors import SwatheError
    from models.registry import is_named
    from tasks.errors import JobError
    from tasks.intake.request import make_request
    from tasks.jobs.job import load_job
    from tasks.jobs.reading import is_shipped
    from tasks.out.folder import OutFolder as Folder
    from tasks.out.manifest import keep_manifest

    request = make_request(load_job(job, all_overrides(overrides, device, strict=strict)), out, model)
    freed = require_freed(free_inputs(inputs, request), request)
    if freed.n_refused:
        OUT.print(verdict_table(freed.verdicts))
    checked = check_batch(request, freed.inputs)
    tell(OUT, [tables.refusal(verdict) for _, verdict in checked.refused])
    if not checked.accepted:
        raise JobError(f"none of {checked.n_inputs} inputs can be segmented; nothing was submitted")
    if not use_server(home):
        raise SwatheError(
            "no Prefect server to submit to. Name one in PREFECT_API_URL, start one with: swathe up, or run the "
            "batch here with: swathe segment"
        )
    enter(request, checked, now())
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
        strict=strict,
    )
    queued = queue_run(order, request.job.job)
    told = f"{len(checked.accepted)} of {checked.n_inputs} scenes submitted"
    tell(OUT, [Told(f"{told} to the queue '{queued.queue}', as run", is_flush=True)])
    tell_path(OUT, queued.id, queued.page)
    if checked.refused or freed.n_refused:
        raise typer.Exit(FAILED_SCENES)


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
