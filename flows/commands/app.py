"""The command line."""

from __future__ import annotations

import logging
import sys
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from flows.commands.analyse import analyse_app
from flows.commands.audit import audit_command
from flows.commands.deidentify import deidentify_command, verdict_table
from flows.commands.forget import forget_command
from flows.commands.keys import key_app
from flows.commands.local import deploy_command, down_command, status_command, up_command
from flows.commands.options import (
    ERR,
    FAILED_SCENES,
    HOME,
    OUT,
    UNEXPECTED,
    WRONG,
    Cluster,
    DeviceChoice,
    Home,
    Inputs,
    JobName,
    ModelName,
    OptionError,
    OutFolder,
    Overrides,
    Prefect,
    Strict,
    VoxelSizeChoice,
    Workers,
)
from flows.commands.returning import return_command
from flows.commands.submit import submit_command
from flows.display import logs
from flows.display.told import Told, tell, tell_path
from flows.orchestration.interruption import interruption
from models.errors import SwatheError
from tasks.files.declared import require_utf8

logger = logging.getLogger(__name__)

app = typer.Typer(
    help="Segment satellite rasters and CT/MRI volumes that do not fit in memory.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(analyse_app, name="analyse")
app.add_typer(key_app, name="key")
app.command("audit")(audit_command)
app.command("deidentify")(deidentify_command)
app.command("return")(return_command)
app.command("forget")(forget_command)
app.command("submit")(submit_command)
app.command("deploy")(deploy_command)
app.command("up")(up_command)
app.command("down")(down_command)
app.command("status")(status_command)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"swathe {version('swathe')}")
        raise typer.Exit


@app.callback()
def swathe(
    _version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Tell the version and end.")
    ] = False,
) -> None:
    """Segment satellite rasters and CT/MRI volumes that do not fit in memory."""


# Each command imports what it needs when it is called: `swathe --help` loads none of it, `swathe check` no cluster.


@app.command()
def segment(  # noqa: PLR0913 - one argument per option of the command
    inputs: Inputs,
    out: OutFolder,
    job: Annotated[
        str | None,
        typer.Option("--job", help="A name in configs/ or the path of a job file; not needed where --model is enough."),
    ] = None,
    model: ModelName = None,
    cluster: Cluster = "local",
    workers: Workers = None,
    device: DeviceChoice = None,
    strict: Strict = False,
    overrides: Overrides = None,
    prefect: Prefect = False,
    home: Home = HOME,
) -> None:
    """Segment scenes and publish their masks, numbers and pictures."""
    if job is None:
        from flows.commands.init import job_for

        if model is None:
            raise OptionError(
                "give --job, the name or path of a job, or --model alone, such as --model kmeans --set classes=4. "
                "swathe init writes a job for files of yours"
            )
        job, overrides, model = job_for(inputs, out, model, overrides or [])
    if cluster == "local":
        from flows.cluster.seed import start_seed

        # First of all: it imports beside what this process imports now.
        start_seed()
    from flows.batch.orders import Batch
    from flows.batch.workers import starting_early
    from flows.commands.orchestrated import orchestrated
    from tasks.intake.request import make_request
    from tasks.jobs.job import load_job

    batch = Batch(
        inputs=inputs,
        job=job,
        out=out,
        model=model,
        overrides=overrides or [],
        cluster=cluster,
        workers=workers,
        device=device,
        strict=strict,
    )
    request = make_request(load_job(job, batch.all_overrides), out, model)
    with orchestrated(home, prefect) as has_server, starting_early(batch, request):
        # Here, because workers start meanwhile.
        from flows.batch.freeing import free_inputs, require_freed
        from flows.batch.segment import segment_batch
        from flows.commands import tables
        from tasks.inputs.listing import list_inputs, require_scenes

        freed = require_freed(free_inputs(inputs, request), request)
        # Names that are wrong end here, before a folder is made.
        require_scenes(list_inputs(freed.inputs, request.job, request.card.n_channels))
        batch = batch.model_copy(update={"inputs": [request.out.keep_inputs(freed.inputs)]})
        if has_server():
            from flows.batch.flow import segment_on_server

            outcomes = segment_on_server(batch)
        else:
            outcomes = segment_batch(batch)
    if freed.n_refused:
        OUT.print(verdict_table(freed.verdicts))
    tell(OUT, tables.outcomes(outcomes, out))
    if freed.n_refused or any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(FAILED_SCENES)


@app.command()
def nightly(  # noqa: PLR0913 - one argument per option of the command
    job: JobName,
    inbox: Annotated[str, typer.Option(help="Folder that scenes arrive in, or a STAC catalogue: catalog.json or URL.")],
    out: OutFolder,
    night: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Which night; today in UTC.")] = None,
    model: ModelName = None,
    cluster: Cluster = "local",
    workers: Workers = None,
    device: DeviceChoice = None,
    wait_hours: Annotated[float, typer.Option(min=0, help="How long to wait while another run holds OUT.")] = 12,
    strict: Strict = False,
    overrides: Overrides = None,
    prefect: Prefect = False,
    home: Home = HOME,
) -> None:
    """Segment what is new in the inbox, by hand what the schedule does; run again, it does nothing."""
    from flows.commands import tables
    from flows.commands.orchestrated import orchestrated
    from flows.nightly.night import Nightly, newest_night, run_night

    order = Nightly(
        inbox=inbox,
        night=None if night is None else night.date(),
        job=job,
        out=out,
        model=model,
        overrides=overrides or [],
        cluster=cluster,
        workers=workers,
        device=device,
        wait_hours=wait_hours,
        strict=strict,
    )
    earlier = newest_night(out)
    with orchestrated(home, prefect) as has_server:
        if has_server():
            from flows.nightly.satellite import nightly as nightly_flow
            from flows.server.states import result_of

            done = result_of(nightly_flow(order, return_state=True))
        else:
            done = run_night(order)
    tell(OUT, tables.night(done, out, earlier))
    if done.failed:
        raise typer.Exit(FAILED_SCENES)


@app.command()
def init(
    named: Annotated[
        str,
        typer.Argument(
            help="A GeoTIFF, a NIfTI file, a DICOM series, a folder of these, a STAC item, or a model.", metavar="INPUT"
        ),
    ],
    model: Annotated[
        str | None, typer.Option("--model", help="Segments, instead of a method that needs no training.")
    ] = None,
    job_file: Annotated[
        str | None, typer.Option("--out", help="Where to write the job; - for standard output.")
    ] = None,
) -> None:
    """Look at what there is and write a job for it, with comments, that runs without an edit."""
    from flows.commands.init import draft, write_job, write_missing_card

    tell(ERR, write_missing_card(model or named))
    written = draft(named, model)
    if job_file == "-":
        typer.echo(written.text(), nl=False)
        return
    tell(OUT, write_job(written, named, job_file))


@app.command()
def card(
    file: Annotated[Path, typer.Argument(help="An ONNX or a TorchScript file.", metavar="FILE")],
    classes: Annotated[
        str | None, typer.Option(help="Names in the order of the outputs, background first: background,burned.")
    ] = None,
    channels: Annotated[str | None, typer.Option(help="Names of the inputs in order: red,green,blue.")] = None,
    stride: Annotated[
        int | None, typer.Option(min=1, help="What lengths of tiles have to be multiples of; measured where left out.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="A key of the card, such as licence=MIT.", metavar="KEY=VALUE"),
    ] = None,
) -> None:
    """Write the card of a model beside it: what can be measured is, the rest is asked for."""
    from flows.commands.init import write_card_of
    from models.drafting import Asked

    asked = Asked(
        classes=classes.split(",") if classes else (),
        channels=channels.split(",") if channels else (),
        stride=stride,
        overrides=overrides or (),
    )
    tell(OUT, write_card_of(file, asked))
    tell(OUT, [Told("Next:", is_flush=True), Told(f"  swathe init INPUT --model {file}", is_flush=True, is_whole=True)])


@app.command()
def check(
    inputs: Inputs,
    job: Annotated[str | None, typer.Option("--job", help="Check against this job's bands and model as well.")] = None,
    model: ModelName = None,
    strict: Strict = False,
    overrides: Overrides = None,
) -> None:
    """Give each input a verdict, go or a named refusal, without doing any work."""
    from flows.commands import tables
    from flows.commands.check import check_batch, expectations

    verdicts = check_batch(inputs, job, model, tuple(overrides or ()))
    if strict:
        verdicts = [verdict.strictly() for verdict in verdicts]
    expected = None if job is None else expectations(verdicts, job, model, tuple(overrides or ()))
    tell(OUT, tables.verdicts(verdicts, expected))
    if not all(verdict.go or verdict.left_out for verdict in verdicts):
        raise typer.Exit(FAILED_SCENES)


@app.command()
def evaluate(  # noqa: PLR0913 - one argument per option of the command
    predicted: Annotated[Path, typer.Argument(help="A mask, a product, or a folder of them.")],
    reference: Annotated[Path, typer.Argument(help="The reference mask, or a folder of them.")],
    resample: Annotated[
        Literal["none", "nearest"], typer.Option(help="What to do with a prediction on another grid.")
    ] = "none",
    tolerance: Annotated[
        str | None, typer.Option(help="Of NSD and boundary F: 2px, 30m, 1mm. Rasters 2px, volumes 1mm.")
    ] = None,
    connectivity: Annotated[
        int | None, typer.Option(help="Of objects: 4 or 8 in rasters, 6, 18 or 26 in volumes.")
    ] = None,
    background: Annotated[str, typer.Option(help="Class that is left out of objects and means, or none.")] = "0",
    lesions: Annotated[str, typer.Option(help="BraTS 2023 rules: gli, ssa, ped, men, met, or none.")] = "gli",
    predicted_classes: Annotated[
        list[str] | None, typer.Option("--map-predicted", help="What a value stands for.", metavar="VALUE=CLASS")
    ] = None,
    reference_classes: Annotated[
        list[str] | None, typer.Option("--map-reference", help="What a value stands for.", metavar="VALUE=CLASS")
    ] = None,
    not_observed: Annotated[
        list[int] | None, typer.Option(help="Value that leaves a pixel open, beside what a file declares.")
    ] = None,
    reference_structures: Annotated[
        str | None,
        typer.Option(help="Of an RTSTRUCT or a SEG: expression of the names that count, all as class 1."),
    ] = None,
    predicted_files: Annotated[str | None, typer.Option(help="Names in a folder, as {scene}/seg.nii.gz.")] = None,
    reference_files: Annotated[str | None, typer.Option(help="The same for the references.")] = None,
    predicted_ids: Annotated[
        str | None, typer.Option(help="Ids of objects: a file, or names in a folder, as {scene}/ids.tif.")
    ] = None,
    reference_ids: Annotated[str | None, typer.Option(help="The same for the references.")] = None,
    voxel_size: VoxelSizeChoice = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write everything to this file; - for standard output.")
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write a row per pair, class and metric; - for standard output.")
    ] = None,
) -> None:
    """Compare masks with references, in the field's metrics, each with its convention in its name."""
    from flows.commands import evaluate as flow
    from flows.commands.evaluate_tables import evaluation_tables
    from tasks.errors import JobError
    from tasks.pairs.reading import Reading, list_pairs, with_ids

    choices = flow.Choices(
        tolerance=flow.parse_tolerance(tolerance) if tolerance else None,
        connectivity=connectivity,
        background=flow.parse_background(background),
        challenge=flow.parse_challenge(lesions),
    )
    reading = Reading(
        resample=resample == "nearest",
        not_observed=tuple(not_observed or ()),
        predicted_classes=flow.parse_mapping(predicted_classes or ()),
        reference_classes=flow.parse_mapping(reference_classes or ()),
        structures=reference_structures,
        voxel_size=voxel_size,
    )
    flow.require_folder(json_file, "--json")
    flow.require_folder(csv_file, "--csv")
    to_standard_output = flow.STANDARD_OUTPUT in (json_file, csv_file)
    if json_file == csv_file == flow.STANDARD_OUTPUT:
        raise JobError("--json and --csv cannot both go to standard output; name a file for one of them")
    pairs = list_pairs(predicted, reference, predicted_files, reference_files)
    pairs = with_ids(pairs, predicted, reference=reference, predicted_ids=predicted_ids, reference_ids=reference_ids)
    report = flow.evaluate_pairs(pairs, reading, choices)
    for table in evaluation_tables(report):
        (ERR if to_standard_output else OUT).print(table)
    if report.evaluations and json_file is not None:
        flow.write_json(report, json_file)
    if report.evaluations and csv_file is not None:
        flow.write_csv(report, csv_file)
    if report.failures:
        raise typer.Exit(FAILED_SCENES)


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="Show this model's card, or this method's arguments.")] = None,
) -> None:
    """List shipped models and every method, or show one of them."""
    from flows.commands import model_tables
    from models.catalogue import CATALOGUE, FAMILIES
    from models.methods import check_known, is_method, method
    from models.registry import resolve_model, verify_model, zoo_cards

    if name is None:
        shown = model_tables.listing(zoo_cards(), CATALOGUE, FAMILIES)
    elif is_method(name):
        shown = model_tables.described(method(name))
    else:
        check_known(name)
        card, folder = resolve_model(name)
        verify_model(card, folder)
        shown = iter([model_tables.card(card)])
    for part in shown:
        OUT.print(part)


@app.command()
def train(
    job: JobName,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for weights, card, logs, and what a fit that was ended goes on from.")
    ] = Path("trained"),
    device: DeviceChoice = None,
    overrides: Overrides = None,
    prefect: Prefect = False,
    home: Home = HOME,
) -> None:
    """Fit a network on labelled scenes and write its weights beside their card; what was ended half way goes on."""
    from flows.commands import tables
    from flows.commands.orchestrated import orchestrated

    changes = [*(overrides or []), *([] if device is None else [f"settings.device={device}"])]
    with orchestrated(home, prefect) as has_server:
        if has_server():
            from flows.training.flow import train as train_flow

            result = train_flow(job, out, changes)
        else:
            from flows.training.fit import train_model

            result = train_model(job, out, changes)
    OUT.print(tables.training(result))


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for samples and products.")] = Path("demo-out"),
    workers: Workers = None,
    home: Home = HOME,
) -> None:
    """Run the jobs on sample scenes and compare them with their reference answers."""
    from flows.batch.demo import run_demo
    from flows.commands import tables
    from flows.commands.orchestrated import orchestrated

    with orchestrated(home, start_server=True, patient=False) as has_server:
        results = run_demo(out, workers, has_server)
    tell(OUT, tables.demo(results))
    if any(result.status == "failed" for result in results):
        raise typer.Exit(FAILED_SCENES)


def _refuse(error: SwatheError) -> NoReturn:
    ERR.print(f"[bold red]{type(error).__name__}[/]", end=": ")
    room = len(type(error).__name__) + 2
    tell(ERR, [Told(str(error), is_flush=True, indent=room)])
    sys.exit(WRONG)


def _give_up(error: Exception) -> NoReturn:
    """End with an error that nobody foresaw: in a line on the terminal, and whole in a file."""
    from flows.display.unforeseen import keep_traceback

    kept = keep_traceback(error, HOME / "errors")
    if kept is None:
        raise error
    told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    tell(ERR, [Told(f"UnexpectedError: {told}", is_flush=True, indent=2)])
    tell(
        ERR,
        [Told("A mistake of swathe, not yours. What is done is kept. Please report it with this file:", is_flush=True)],
    )
    tell_path(ERR, kept)
    sys.exit(UNEXPECTED)


def main() -> None:
    """Run the command line."""
    logs.set_up(ERR)
    if logs.asked() == "json":
        interruption.say = logger.warning
    try:
        for argument in sys.argv[1:]:
            require_utf8(argument)
        app()
    except SwatheError as error:
        _refuse(error)
    except Exception as error:
        if interruption.told is not None:
            # Something gave way because the command ends.
            raise
        # Here, because what can name it takes longer to import than most commands to run.
        from flows.commands.foreign_errors import named_error

        named = named_error(error)
        if named is not None:
            _refuse(named)
        _give_up(error)
