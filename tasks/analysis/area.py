"""Areas of the classes of a raster mask."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from tasks.analysis.subject import Findings, RasterMask
from tasks.answers.area import ClassAreas, class_areas
from tasks.answers.rounding import rounded
from tasks.jobs.analysis import AreaAnalysis
from tasks.reports.blocks import Section
from tasks.reports.pictures.product_preview import attempt
from tasks.reports.raster_section import extent_section, map_section


def analyse_area(subject: RasterMask, _settings: AreaAnalysis, folder: Path) -> Findings:
    """Measure every class in hectares, and write ``preview.png``.

    Args:
        subject: The mask.
        folder: The product, not yet published.
    """
    areas = class_areas(subject.read, subject.grid, len(subject.classes))
    undrawn: list[str] = []
    subject.write_preview(areas, folder, undrawn)

    def draw() -> tuple[Section, ...]:
        return () if subject.picture is None else (map_section(subject, subject.picture),)

    sections = (*(attempt("map", draw, undrawn) or ()), extent_section(areas, subject))
    answers = {"classes": area_table(areas, subject.names)}
    return Findings(area_headline(subject, areas), answers, sections, tuple(undrawn))


def area_headline(subject: RasterMask, areas: ClassAreas) -> dict[str, Any]:
    """Return hectares and pixels of every class but background, and the share that was observed."""
    total = math.prod(subject.grid.shape)
    hectares: dict[str, Any] = {}
    pixels: dict[str, Any] = {}
    for number, name in enumerate(subject.names):
        if number == 0 or not areas.is_shown(number, name):
            continue
        key = name.replace(" ", "_")
        pixels[f"{key}_pixels"] = areas.pixels[number]
        if areas.areas_ha is not None:
            hectares[f"{key}_ha"] = rounded(areas.areas_ha[number], 4)
    observed = {"observed_percent": round(100 * (total - areas.not_observed_pixels) / total, 3)}
    return hectares | pixels | observed


def area_table(areas: ClassAreas, names: list[str]) -> dict[str, Any]:
    """Return pixels and hectares by class name."""
    hectares = areas.areas_ha or (None,) * len(names)
    rows: dict[str, Any] = {
        name: {"pixels": areas.pixels[number], "area_ha": hectares[number]}
        for number, name in enumerate(names)
        if areas.is_shown(number, name)
    }
    rows["not observed"] = {"pixels": areas.not_observed_pixels, "area_ha": areas.not_observed_ha}
    return rows if areas.reason is None else rows | {"area_ha_is_null_because": areas.reason}
