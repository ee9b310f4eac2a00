"""``swathe analyse``: one command per kind of answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.commands.options import FAILED_SCENES, OUT, Overrides, VoxelSizeChoice
from flows.display.told import tell, tell_path

analyse_app = typer.Typer(help="Answers from masks made elsewhere.", no_args_is_help=True)

Masks = Annotated[
    list[str], typer.Argument(help="Class maps: rasters, products, or folders of them.", metavar="MASK...")
]
Out = Annotated[Path, typer.Option("--out", help="Folder for the products.")]
OptionalJob = Annotated[str | None, typer.Option("--job", help="A name in configs/ or a path: names and settings.")]


@analyse_app.command()
def crop(  # noqa: PLR0913 - one argument per option of the command
    masks: Masks,
    out: Out,
    job: OptionalJob = None,
    fields: Annotated[str | None, typer.Option(help="Field polygons; {scene} is the mask's name.")] = None,
    fields_crs: Annotated[str | None, typer.Option(help="Their CRS, such as EPSG:32632, or mask.")] = None,
    fields_id: Annotated[str | None, typer.Option(help="The column that names a field.")] = None,
    declared: Annotated[str | None, typer.Option(help="The column with the declared crop.")] = None,
    samples: Annotated[str | None, typer.Option(help="Reference samples: points with a column reference.")] = None,
    samples_crs: Annotated[str | None, typer.Option(help="Their CRS, such as EPSG:32632, or mask.")] = None,
    design: Annotated[
        Literal["stratified", "simple", "unknown"] | None, typer.Option(help="How the samples were drawn.")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Class areas with intervals, fields against what was declared, where to spray."""
    from flows.analysis import crop as flow
    from flows.commands import tables

    options = {
        "fields": fields,
        "fields_crs": fields_crs,
        "fields_id": fields_id,
        "declared": declared,
        "samples": samples,
        "samples_crs": samples_crs,
        "design": design,
    }
    outcomes = flow.analyse(masks, flow.ask(job, options, overrides or ()), out)
    tell(OUT, tables.outcomes(outcomes, out))
    if any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(FAILED_SCENES)


@analyse_app.command()
def fire(
    masks: Masks,
    out: Out,
    job: OptionalJob = None,
    images: Annotated[
        list[str] | None, typer.Option(help="Files, folders or a CSV with the pictures, matched by name.")
    ] = None,
    site: Annotated[str | None, typer.Option(help="What all masks show; else their names without the date.")] = None,
    overrides: Overrides = None,
) -> None:
    """Fires, their severity, and how they grew over the dates in the names of the masks."""
    from flows.analysis import fire as flow
    from flows.commands import tables

    outcomes = flow.analyse(masks, flow.ask(job, images or (), site, overrides or ()), out)
    tell(OUT, tables.outcomes(outcomes, out))
    if any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(FAILED_SCENES)


@analyse_app.command()
def structures(
    masks: Masks,
    out: Out,
    job: OptionalJob = None,
    spacing_mm: Annotated[
        tuple[float, float] | None, typer.Option(help="From one row, and from one column, to the next.")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Shape, position and size of every structure of pictures, such as lungs and heart in a radiograph."""
    from flows.analysis import structures as flow
    from flows.commands import tables

    outcomes = flow.analyse(masks, flow.ask(job, spacing_mm, overrides or ()), out)
    tell(OUT, tables.outcomes(outcomes, out))
    if any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(FAILED_SCENES)


@analyse_app.command()
def tumour(  # noqa: PLR0913 - one argument per option of the command
    masks: Annotated[
        list[str], typer.Argument(help="Class maps: NIfTI volumes, products, or folders of them.", metavar="MASK...")
    ],
    out: Out,
    job: OptionalJob = None,
    image: Annotated[list[str] | None, typer.Option(help="What was segmented: once per mask, in order.")] = None,
    follow_up: Annotated[
        bool, typer.Option("--follow-up", help="The masks are one patient's, oldest first: compare them.")
    ] = False,
    voxel_size: VoxelSizeChoice = None,
    overrides: Overrides = None,
) -> None:
    """Lesions with volumes and diameters, target lesions, and how they changed over the dates."""
    from flows.analysis import tumour as flow
    from flows.commands import tables

    outcomes = flow.analyse(masks, image or (), flow.ask(job, overrides or (), voxel_size), out, is_series=follow_up)
    tell(OUT, tables.outcomes(outcomes, out))
    if any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(FAILED_SCENES)


@analyse_app.command()
def sample(  # noqa: PLR0913 - one argument per option of the command
    mask: Annotated[str, typer.Argument(help="The class map whose classes are the strata.", metavar="MASK")],
    out: Out,
    target_se: Annotated[float, typer.Option(help="Wanted standard error of the overall accuracy.")] = 0.01,
    expect: Annotated[
        list[str] | None, typer.Option(help="Accuracy that one expects of a class.", metavar="CLASS=SHARE")
    ] = None,
    expect_others: Annotated[float, typer.Option(help="Accuracy that one expects of all other classes.")] = 0.8,
    allocation: Annotated[
        Literal["minimum", "proportional", "equal", "neyman"], typer.Option(help="How samples are shared.")
    ] = "minimum",
    smallest: Annotated[int, typer.Option(min=2, help="Samples of a class at least, with minimum.")] = 50,
    seed: Annotated[int, typer.Option(help="The same seed draws the same pixels.")] = 0,
    leave_out: Annotated[list[str] | None, typer.Option(help="A class that is not asked about.")] = None,
    job: OptionalJob = None,
    overrides: Overrides = None,
) -> None:
    """Draw reference samples for interpreters: how many, where, with which probability."""
    from flows.analysis import crop as flow
    from flows.commands import tables
    from tasks.analysis.crop.plan import SampleWishes, planned_files
    from tasks.analysis.masks.names import id_of_mask

    wishes = SampleWishes(
        target_se=target_se,
        anticipated=flow.parse_expectations(expect or ()),
        anticipated_elsewhere=expect_others,
        allocation=allocation,
        smallest=smallest,
        seed=seed,
        leave_out=tuple(leave_out or ()),
    )
    planned = flow.sample(mask, flow.ask(job, {}, overrides or ()), wishes, out)
    OUT.print(tables.sample_plan(planned.summary))
    for path in planned_files(out, id_of_mask(mask)):
        tell_path(OUT, path)
