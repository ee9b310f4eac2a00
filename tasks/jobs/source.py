"""Where a scene's files and bands come from, as a job says it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from models.classical.expression import Expression, parse_expression
from models.errors import ExpressionError
from models.quantities import QuantityName
from tasks.files.declared import leads_out
from tasks.jobs.section import Section

# Which of a NIfTI header's statements on the size of voxels is right where two differ.
VoxelSize: TypeAlias = Literal["sform", "pixdim"]


def _relative(pattern: str) -> str:
    if leads_out(pattern):
        raise ValueError(f"{pattern} leads out of the input folder; name files in it, without '..'")
    return pattern


def _as_names(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return text


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
        quantity: What it holds, such as ``reflectance`` or ``dNBR`` (see docs/jobs.md); where left out, what the
            model's card says, or a usual name such as NDVI. Values that it cannot have are no observation.
    """

    file: str | None = None
    band: int | str | None = None
    scale: float | None = None
    offset: float | None = None
    index: str | None = None
    quantity: QuantityName | None = None

    @model_validator(mode="after")
    def _is_of_a_file_or_of_bands(self) -> BandSource:
        if self.scale == 0:
            raise ValueError("'scale' is 0, by which all values are alike")
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


class DicomRule(Section):
    """Which series of DICOM are scenes of a job.

    Attributes:
        modality: Such as CT; any where left out.
        description: Regular expression that SeriesDescription or ProtocolName has to match somewhere.
        without: Regular expression that neither may match.
        plane: The plane that slices have to lie in.
        thickest_mm: From one slice to the next, at most.
        derived: Whether series made from other images are taken.
        take: Of the series of a study that could be taken ``all``, or the one of the ``thinnest`` slices.
        volumes: Of a series of several volumes (echoes, times) ``all``, or the ``first``.
        values: As ``stored`` and rescaled by the file, or as ``suv`` by body weight.
    """

    modality: Annotated[tuple[str, ...], BeforeValidator(_as_names)] = ()
    description: Annotated[str, AfterValidator(_expression)] | None = None
    without: Annotated[str, AfterValidator(_expression)] | None = None
    plane: Literal["axial", "coronal", "sagittal", "oblique"] | None = None
    thickest_mm: Annotated[float, Field(gt=0)] | None = None
    derived: bool = True
    take: Literal["all", "thinnest"] = "all"
    volumes: Literal["all", "first"] = "all"
    values: Literal["stored", "suv"] = "stored"


class Source(Section):
    """The files and bands that make up a scene.

    Attributes:
        site: Regular expression whose first group is the site in a scene's id; the id without its dates where left out
            or where it does not match.
        dicom: Which series of DICOM are scenes.
        voxel_size: Of volumes: which to believe where the sform and pixdim of a header differ; refused where left out.
    """

    files: dict[str, Pattern] = Field(default={})
    pair: Pair | None = None
    bands: dict[str, BandSource] = Field(default={})
    invalid: Annotated[tuple[Invalid, ...], BeforeValidator(_as_tuple)] = ()
    dates: dict[str, str] = Field(default={})
    site: str | None = None
    dicom: DicomRule = DicomRule()
    voxel_size: VoxelSize | None = None

    @field_validator("site")
    @classmethod
    def _has_a_group(cls, site: str | None) -> str | None:
        if site is not None and re.compile(_expression(site)).groups < 1:
            raise ValueError("has no group; put the site in parentheses: ^(.+)_[0-9]{8}")
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
