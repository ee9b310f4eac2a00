"""The command line."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.logging import RichHandler

from flows import tables
from flows.options import ERR, FAILED_SCENES, OUT, WRONG, Device, Inputs, JobName, OutFolder, Overrides
from models.errors import SwatheError
from tasks.job import load_job
from tasks.request import make_request
from tasks.scenes.listing import list_inputs

app = typer.Typer(
    help="Segment satellite rasters and CT/MRI volumes that do not fit in memory.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.command()
def segment(  # noqa: PLR0913 - one argument per option of the command
    inputs: Inputs,
    job: JobName,
    out: OutFolder,
    model: Annotated[str | None, typer.Option(help="A model's name or path instead of the job's.")] = None,
    cluster: Annotated[str, typer.Option(help="local, or the address of a running Dask scheduler.")] = "local",
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes of the local cluster.")] = None,
    device: Annotated[Device | None, typer.Option(help="What to compute on, instead of what the job says.")] = None,
    overrides: Overrides = None,
) -> None:
    """Segment scenes and publish their masks, numbers and pictures."""
    # Before Prefect starts, which takes seconds.
    request = make_request(load_job(job, tuple(overrides or ())), out, model)
    list_inputs(inputs, request.job)
    _quieten_prefect()
    from flows.segment import Batch
    from flows.segment import segment as segment_flow

    batch = Batch(
        inputs=[request.out.keep_inputs(inputs)],
        job=job,
        out=out,
        model=model,
        overrides=overrides or [],
        cluster=cluster,
        workers=workers,
        device=device,
    )
    outcomes = segment_flow(batch)
    OUT.print(tables.outcomes(outcomes, out))
    if any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(FAILED_SCENES)


@app.command()
def check(
    inputs: Inputs,
    job: Annotated[str | None, typer.Option("--job", help="Check against this job's bands and model as well.")] = None,
    model: Annotated[str | None, typer.Option(help="A model's name or path instead of the job's.")] = None,
    overrides: Overrides = None,
) -> None:
    """Give each input a verdict, go or a named refusal, without doing any work."""
    from flows.check import check_batch

    verdicts = check_batch(inputs, job, model, tuple(overrides or ()))
    for line in tables.verdicts(verdicts):
        OUT.print(line, soft_wrap=True)
    if not all(verdict.go for verdict in verdicts):
        raise typer.Exit(FAILED_SCENES)


@app.command()
def models(name: Annotated[str | None, typer.Argument(help="Show this model's card.")] = None) -> None:
    """List what can segment, or show one model's card."""
    from models.registry import resolve_model, zoo_cards

    OUT.print(tables.models(zoo_cards()) if name is None else tables.card(resolve_model(name)[0]))


@app.command()
def train(
    job: JobName,
    out: Annotated[Path, typer.Option("--out", help="Folder for weights and card.")] = Path("trained"),
    overrides: Overrides = None,
) -> None:
    """Fit a network on labelled scenes and write its weights beside their card."""
    _quieten_prefect()
    from flows.training import train as train_flow

    OUT.print(tables.training(train_flow(job, out, overrides or [])))


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for samples and products.")] = Path("demo-out"),
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes of the local cluster.")] = None,
) -> None:
    """Run the jobs on sample scenes and compare them with their reference answers."""
    _quieten_prefect()
    from flows.demo import run_demo

    results = run_demo(out, workers)
    OUT.print(tables.demo(results))
    if any(result.status == "failed" for result in results):
        raise typer.Exit(FAILED_SCENES)


def _quieten_prefect() -> None:
    """Keep what Prefect says for its UI; users read our own lines. Must come before Prefect is imported."""
    quiet = {
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_CLIENT_MAX_RETRIES": "10",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    }
    for name, value in quiet.items():
        os.environ.setdefault(name, value)


def _refuse(error: SwatheError) -> NoReturn:
    ERR.print(f"[bold red]{type(error).__name__}[/] ", end="")
    ERR.print(str(error), markup=False, highlight=False)
    sys.exit(WRONG)


def main() -> None:
    """Run the command line."""
    handler = RichHandler(console=ERR, show_path=False, markup=False, log_time_format="[%H:%M:%S]")
    handler.setFormatter(logging.Formatter("%(message)s"))
    # Our own lines only: what Prefect has to say goes to its UI.
    for package in ("flows", "tasks", "models"):
        logging.getLogger(package).setLevel(logging.INFO)
        logging.getLogger(package).addHandler(handler)
    try:
        app()
    except SwatheError as error:
        _refuse(error)


if __name__ == "__main__":
    main()
