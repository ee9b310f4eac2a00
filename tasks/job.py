"""The job file: source, model, tiling, output and analysis, validated before anything is opened."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from models.classical.expression import Expression, parse_expression
from models.errors import ExpressionError
from tasks.analysis.settings import Analysis
from tasks.declared import leads_out
from tasks.instances.settings import InstanceSettings, PanopticSettings
from tasks.job_file import load_section
from tasks.nights.settings import Nightly
from tasks.section import Section

# Strict, or YAML's true would pass for 1.
_Length = Annotated[int, Field(ge=1, strict=True)]
_Margin = Annotated[int, Field(ge=0, strict=True)]
_Argument: TypeAlias = float | int | str


def _relative(pattern: str) -> str:
    if leads_out(pattern):
        raise ValueError(f"{pattern} leads out of the input folder; name files in it, without '..'")
    return pattern


# Of a file, relative to the input folder.
Pattern = Annotated[str, AfterValidator(_relative)]


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, Mapping) else value


class BandSource(Section):
    """Where a band comes from: a file, or other bands.

    Attributes:
        file: A role under ``source.files``; may be left out when a scene is one file.
        band: Its number from 1, or its description in the file.
        scale: Factor from stored to physical values; the file's own where left out.
        offset: Summand from stored to physical values; the file's own where left out.
        index: In place of all these, an expression of the physical values of other bands.
    """

    file: str | None = None
    band: int | str | None = None
    scale: float | None = None
    offset: float | None = None
    index: str | None = None

    @model_validator(mode="after")
    def _is_of_a_file_or_of_bands(self) -> BandSource:
        stored = (self.file, self.band, self.scale, self.offset)
        if self.index is None and self.band is None:
            raise ValueError(
                "'band' is missing: its number or description in the file; or 'index', made of other bands"
            )
        if self.index is not None:
            if any(value is not None for value in stored):
                raise ValueError("'index' is made of other bands: leave out 'file', 'band', 'scale' and 'offset'")
            try:
                parse_expression(self.index)
            except ExpressionError as error:
                raise ValueError(f"'index': {error}") from error
        return self


class Invalid(Section):
    """Pixels that the job does not want answered: cloud, shadow, snow, water.

    Attributes:
        band: A name under ``source.bands``, such as SCL, QA_PIXEL or Fmask.
        values: Values of that band that are invalid.
        bits: Numbers of bits, from 0, any of which makes a pixel invalid.
    """

    band: str
    values: tuple[int, ...] = ()
    bits: tuple[int, ...] = ()


class Pair(Section):
    """Roles that an earlier scene of the same site fills: the picture before the fire.

    Attributes:
        files: By the role that is filled, which ``source.bands`` may name like any other, the role under
            ``source.files`` whose file of the earlier scene it is.
        days: How many days earlier it may be, at least and at most.
    """

    files: dict[str, str] = Field(min_length=1)
    days: tuple[Annotated[int, Field(ge=1)], int] = (1, 60)

    @model_validator(mode="after")
    def _reaches_back(self) -> Pair:
        if self.days[1] < self.days[0]:
            raise ValueError(f"days {list(self.days)}: the second number is the larger one")
        return self


class Source(Section):
    """The files and bands that make up a scene.

    Attributes:
        site: Regular expression whose first group is the site in a scene's id; the id without its dates where left out
            or where it does not match.
    """

    files: dict[str, Pattern] = Field(default={})
    pair: Pair | None = None
    bands: dict[str, BandSource] = Field(default={})
    invalid: Annotated[tuple[Invalid, ...], BeforeValidator(_as_tuple)] = ()
    dates: dict[str, str] = Field(default={})
    site: str | None = None

    @field_validator("site")
    @classmethod
    def _has_a_group(cls, site: str | None) -> str | None:
        try:
            if site is not None and re.compile(site).groups < 1:
                raise ValueError("has no group; put the site in parentheses: ^(.+)_[0-9]{8}")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return site

    @property
    def indices(self) -> dict[str, Expression]:
        """Bands that are made of others, by name."""
        return {name: parse_expression(band.index) for name, band in self.bands.items() if band.index is not None}

    @model_validator(mode="after")
    def _indices_are_of_files(self) -> Source:
        indices = self.indices
        for name, expression in indices.items():
            nested = [band for band in expression.bands if band in indices]
            if nested:
                raise ValueError(
                    f"bands.{name}.index: made of {', '.join(nested)}, which is an index itself; write out its bands"
                )
        for rule in self.invalid:
            if rule.band in indices:
                raise ValueError(f"invalid.band {rule.band}: an index; stored values of a file's band are compared")
        return self


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


class Tiling(Section):
    """How a scene is cut; ``auto`` takes what the model card recommends, and what this machine can hold.

    Attributes:
        tile: Side of a tile in pixels, one for all axes or one per axis.
        halo: Pixels at each side of a tile that are read but not answered for.
        overlap: By how many pixels neighbouring cores overlap and are blended.
        block: Side of the piece of output that one Dask task owns.
        batch: Tiles per forward pass.
        blend: ``gaussian`` and ``core`` stitch probabilities; ``logits`` stitches scores before softmax; ``auto``
            does as the model card says, ``gaussian`` unless another program's labels are wanted.
        agreement: From which intersection over union on what two tiles saw their objects are one.
    """

    tile: Literal["auto"] | _Length | tuple[_Length, ...] = "auto"
    halo: Literal["auto"] | _Margin | tuple[_Margin, ...] = "auto"
    overlap: Literal["auto"] | _Margin | tuple[_Margin, ...] = "auto"
    block: Literal["auto"] | _Length | tuple[_Length, ...] = "auto"
    batch: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    blend: Literal["auto", "gaussian", "core", "logits"] = "auto"
    agreement: Annotated[float, Field(gt=0, le=1)] = 0.5


class Run(Section):
    """Device and precision; ``auto`` takes the fastest that keeps the mask within ``tolerance`` of float32.

    Attributes:
        device: ``cuda`` where there is one, else ``cpu``.
        dtype: Numbers that the network computes in.
        tolerance: Largest share of labels that a faster dtype may change, by the model card's own measurement.
        threads: CPU threads per worker slot.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    tolerance: Annotated[float, Field(ge=0, le=1)] = 0.005
    threads: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"


class Output(Section):
    """What else a product holds beside the mask.

    Attributes:
        confidence: The probability of the winning class, in percent.
        instances: The objects of the class map, each with an id; for models that find no objects themselves.
        panoptic: For panoptic models: how objects and classes become one.
    """

    confidence: bool = False
    instances: InstanceSettings | None = None
    panoptic: PanopticSettings | None = None


class Job(Section):
    """One YAML file in ``configs/``.

    Attributes:
        job: Its name, in reports and run names.
        kind: What scenes are.
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
    nightly: Nightly = Nightly()
    title: str = ""

    @property
    def roles(self) -> tuple[str, ...]:
        """The files that a scene brings itself, by the names that the job gives them."""
        assets = {} if self.nightly.stac is None else self.nightly.stac.assets
        return tuple(self.source.files or assets)

    @model_validator(mode="after")
    def _roles_agree(self) -> Job:
        assets = () if self.nightly.stac is None else tuple(self.nightly.stac.assets)
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
