"""The analysis section of a job about crops."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from tasks.jobs.analysis_section import AnalysisSection


def _absolute(path: str) -> str:
    """Return a path that a worker with another working directory finds as well."""
    return path if path.startswith("/vsi") or "://" in path else str(Path(path).absolute())


_Share = Annotated[float, Field(ge=0, le=1)]
_Length = Annotated[float, Field(ge=0)]
_ClassNumber = Annotated[int, Field(ge=0, le=254)]
_File = Annotated[str, AfterValidator(_absolute)]


class CropAnalysis(AnalysisSection):
    """Class areas, with reference samples as estimates with intervals; fields; weed pressure.

    Attributes:
        classes: Names of the map's classes by number, where the model or the file gives none or others.
        fields: Polygons that are asked about one by one; ``{scene}`` is the scene's id.
        fields_crs: Their CRS where the file names none or a wrong one: such as ``EPSG:32632``, or ``mask``.
        fields_id: The column that names a field; numbers from 1 where left out.
        declared: The column with the crop that was declared: a class's name or number.
        declared_as: What its values mean, by value: names of classes.
        inner_buffer_m: Margin of a field that is left out of its inner pixels.
        min_pixels: A field with fewer pixels is flagged ``small``.
        mixed_below: A field whose majority has a smaller share is flagged ``mixed``.
        min_observed: A field or zone of which a smaller share was observed is flagged, or not decided on.
        samples: Points with a reference class; ``{scene}`` is the scene's id.
        samples_crs: Their CRS where the file names none or a wrong one; ``mask`` for the map's own.
        design: How they were drawn: at random within strata, or over the whole map; or it is not known.
        strata_ha: Areas of the strata by name, where strata are not the map's classes and the file does not say.
        leave_out: Names of classes that are outside the question and were not sampled.
        weed: Names of weed classes.
        crop: Names of crop classes that weed is weighed against.
        spray_above: A zone or field with more weed pressure is sprayed; 0.5 is where weed outweighs crop.
        zone_m: Side of a zone in metres, where no fields are given.
    """

    kind: Literal["crop"]
    answers: ClassVar[Mapping[str, str]] = {"raster": "tasks.analysis.crop.analyse:analyse_crop"}
    classes: dict[_ClassNumber, str] = Field(default={})
    fields: _File | None = None
    fields_crs: str | None = None
    fields_id: str | None = None
    declared: str | None = None
    declared_as: dict[str | int, str] = Field(default={})
    inner_buffer_m: _Length = 10.0
    min_pixels: Annotated[int, Field(ge=0)] = 8
    mixed_below: _Share = 0.75
    min_observed: _Share = 0.5
    samples: _File | None = None
    samples_crs: str | None = None
    design: Literal["stratified", "simple", "unknown"] = "unknown"
    strata_ha: dict[str, float] = Field(default={})
    leave_out: tuple[str, ...] = ()
    weed: tuple[str, ...] = ()
    crop: tuple[str, ...] = ()
    spray_above: _Share = 0.5
    zone_m: Annotated[float, Field(gt=0)] = 10.0

    @model_validator(mode="after")
    def _consistent(self) -> CropAnalysis:
        if self.weed and not self.crop:
            raise ValueError("'weed' is weighed against 'crop', which names no class. Name the crop's classes")
        return self

    @property
    def following(self) -> str | None:
        """What to spray, where weed is weighed."""
        return "tasks.analysis.crop.following" if self.weed else None

    def unknown_classes(self, names: Mapping[int, str]) -> str | None:
        """Tell of weed and crop classes that neither the model nor ``classes`` names."""
        known = {name.casefold() for name in ({**names, **self.classes}).values()} | {str(number) for number in names}
        for key, wanted in (("weed", self.weed), ("crop", self.crop), ("leave_out", self.leave_out)):
            unknown = [name for name in wanted if name.strip().casefold().removesuffix(".0") not in known]
            if unknown:
                return f"analysis.{key} names {', '.join(unknown)} (analysis.classes can name classes anew)"
        return None

    def files(self, scene_id: str) -> dict[str, str]:
        """Return the files that are read beside the mask, by role."""
        named = {"fields": self.fields, "samples": self.samples}
        return {role: path.replace("{scene}", scene_id) for role, path in named.items() if path is not None}
