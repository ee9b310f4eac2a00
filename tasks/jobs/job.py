"""The job file: source, model, tiling, output and analysis, validated before anything is opened."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, ValidationInfo, field_validator, model_validator

from models.extensions import PRODUCTS, extensions
from tasks.jobs.analysis import Analysis, kinds_for
from tasks.jobs.deidentify import Deidentification
from tasks.jobs.dicom_output import DicomOutput
from tasks.jobs.instances import InstanceSettings, PanopticSettings
from tasks.jobs.nightly import Nightly
from tasks.jobs.reading import load_section
from tasks.jobs.section import Section
from tasks.jobs.source import Source

# Strict, or YAML's true would pass for 1.
_Length = Annotated[int, Field(ge=1, strict=True)]
_Margin = Annotated[int, Field(ge=0, strict=True)]
_Argument: TypeAlias = float | int | str


class ModelChoice(Section):
    """Which model segments: a name in the zoo, or weights beside their card.

    Attributes:
        name: A name that ``swathe models`` lists.
        weights: Path of a card (.json), of weights, TorchScript or ONNX with their card beside them, or of a folder
            that MONAI or nnU-Net wrote.
        sha256: Refuse weights that hash to anything else.
        arguments: For models without weights, from ``threshold`` to ``mean-shift``: what they are made with.
    """

    name: str | None = None
    weights: str | None = None
    sha256: str | None = None
    arguments: dict[str, _Argument | tuple[_Argument, ...]] = Field(default={})

    @model_validator(mode="after")
    def _names_one_model(self) -> ModelChoice:
        if self.name is not None and self.weights is not None:
            raise ValueError(
                f"name {self.name} and weights {self.weights} are two models; give one, and set the other to null, or "
                "name a third on the command line with --model"
            )
        return self


class Tiling(Section):
    """How a scene is cut; ``auto`` takes what the model card recommends, and what this machine can hold.

    Attributes:
        tile: Side of a tile in pixels, one for all axes or one per axis.
        halo: Pixels at each side of a tile that are read but not answered for.
        overlap: By how many pixels neighbouring cores overlap and are blended.
        block: Side of the piece of output that one Dask task owns.
        batch: Tiles per forward pass.
        blend: ``gaussian``, ``hann`` and ``core`` stitch probabilities; ``logits`` stitches scores before softmax;
            ``auto`` does as the model card says, ``gaussian`` unless another program's labels are wanted.
        agreement: From which intersection over union on what two tiles saw their objects are one.
    """

    tile: Literal["auto"] | _Length | tuple[_Length, ...] = "auto"
    halo: Literal["auto"] | _Margin | tuple[_Margin, ...] = "auto"
    overlap: Literal["auto"] | _Margin | tuple[_Margin, ...] = "auto"
    block: Literal["auto"] | _Length | tuple[_Length, ...] = "auto"
    batch: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    blend: Literal["auto", "gaussian", "hann", "core", "logits"] = "auto"
    agreement: Annotated[float, Field(gt=0, le=1)] = 0.5


class Run(Section):
    """Device and precision; ``auto`` takes the fastest that keeps the mask within ``tolerance`` of float32.

    Attributes:
        device: ``cuda`` where there is one, else ``cpu``.
        dtype: Numbers that the network computes in.
        tolerance: Largest share of labels that a faster dtype may change, by the model card's own measurement.
        threads: CPU threads per worker slot.
        strict: Refuse scenes that the check has a warning about.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    tolerance: Annotated[float, Field(ge=0, le=1)] = 0.005
    threads: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    strict: bool = False


class Output(Section):
    """What else a product holds beside the mask.

    Attributes:
        confidence: The probability of the winning class, in percent.
        instances: The objects of the class map, each with an id; for models that find no objects themselves.
        panoptic: For panoptic models: how objects and classes become one.
        dicom: Results of a DICOM series as DICOM objects.
        also: Products that other packages add, by name: ``docs/extending.md``.
    """

    confidence: bool = False
    instances: InstanceSettings | None = None
    panoptic: PanopticSettings | None = None
    dicom: DicomOutput | None = None
    also: tuple[str, ...] = ()

    @field_validator("also")
    @classmethod
    def _also_known(cls, also: tuple[str, ...]) -> tuple[str, ...]:
        known = extensions(PRODUCTS)
        unknown = [name for name in also if name not in known]
        if unknown:
            raise ValueError(
                f"no installed package adds {', '.join(unknown)}; known: {', '.join(known) or 'none'}. Install the "
                "package on every machine that works, or leave the name out"
            )
        return also


class Job(Section):
    """One YAML file in ``configs/``.

    Attributes:
        job: Its name, in reports and run names.
        kind: What scenes are.
        deidentify: DICOM files are freed of what names a patient before anything else, by these options.
        nightly: What ``swathe nightly`` does beside segmenting.
        title: One line for reports.
    """

    job: str
    kind: Literal["raster", "volume"]
    source: Source = Source()
    model: ModelChoice
    tiling: Tiling = Tiling()
    run: Run = Run()
    output: Output = Output()
    analysis: Analysis | None = None
    deidentify: Deidentification | None = None
    nightly: Nightly = Nightly()
    title: str = ""

    @field_validator("source")
    @classmethod
    def _source_fits(cls, source: Source, info: ValidationInfo) -> Source:
        if info.data.get("kind") == "raster" and source.voxel_size is not None:
            raise ValueError("voxel_size: of volumes, and the job's kind is raster; leave it out")
        return source

    @field_validator("analysis")
    @classmethod
    def _analysis_fits(cls, analysis: Analysis | None, info: ValidationInfo) -> Analysis | None:
        kind = info.data.get("kind")
        if analysis is not None and kind is not None and kind not in analysis.answers:
            raise ValueError(
                f"kind '{analysis.kind}' does not fit a {kind}: {', '.join(kinds_for(kind))} do; without an analysis "
                f"every class has its {'hectares' if kind == 'raster' else 'millilitres'}"
            )
        return analysis

    @property
    def roles(self) -> tuple[str, ...]:
        """The files that a scene brings itself, by the names that the job gives them."""
        assets = {} if self.nightly.stac is None else self.nightly.stac.assets
        return tuple(self.source.files or assets)

    @model_validator(mode="after")
    def _roles_agree(self) -> Job:
        assets = () if self.nightly.stac is None else tuple(self.nightly.stac.assets)
        marked = [role for role in (*self.source.files, *assets) if "@" in role]
        if marked:
            raise ValueError(f"role {', '.join(marked)}: '@' tells several items of one scene apart; leave it out")
        if self.output.dicom is not None and self.kind != "volume":
            raise ValueError("output.dicom is for volumes: there is no DICOM object of a raster. Leave it out")
        if self.source.files and assets and set(self.source.files) != set(assets):
            raise ValueError(
                f"nightly.stac.assets {', '.join(assets)}: name the same roles as source.files, which are "
                f"{', '.join(self.source.files)}; or leave source.files out"
            )
        pair = {} if self.source.pair is None else self.source.pair.files
        wrong = [f"{role}: {of}" for role, of in pair.items() if of not in self.roles or role in self.roles]
        if wrong:
            raise ValueError(
                f"source.pair.files {', '.join(wrong)}: fills a new role from one under source.files, which are "
                f"{', '.join(self.roles) or 'none'}"
            )
        return self


def load_job(name_or_path: str, overrides: tuple[str, ...] = ()) -> Job:
    """Read a job.

    Args:
        name_or_path: A name in ``configs/`` or the path of a YAML file.
        overrides: ``key.path=value`` settings that replace the file's; values are YAML.

    Raises:
        JobError: When there is no such job or a key or value of it is wrong.
    """
    return load_section(name_or_path, Job, overrides)
