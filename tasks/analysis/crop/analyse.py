"""Crops of a raster: class areas as estimates, fields, weed pressure."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from models.card import ClassEntry
from tasks.analysis.area import area_headline, area_table
from tasks.analysis.crop.estimate_json import accuracy_json, estimate_json
from tasks.analysis.crop.field_files import write_fields
from tasks.analysis.crop.fields import MeasuredFields, measure_fields, spray_rule
from tasks.analysis.crop.report import crop_sections
from tasks.analysis.crop.samples import AreaEstimates, estimate_areas
from tasks.analysis.crop.spray_file import write_spray_map
from tasks.analysis.subject import Findings, RasterMask
from tasks.answers.area import ClassAreas, class_areas, pixel_sides_m
from tasks.answers.crop.weed import DECISIONS, LEAVE, NOTHING, SPRAY, UNDECIDED, SprayTotals, SprayZones
from tasks.errors import EmptySceneError, SceneError
from tasks.jobs.crop import CropAnalysis
from tasks.reports.legend import NOT_OBSERVED

# Okabe and Ito's colours, told apart by most eyes; grey is for what is none of them.
_COLOURS = ("#d9d9d9", "#e69f00", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#56b4e9", "#7a5230")
_NO_SAMPLES = "no reference samples were given; pixel counts are biased by the map's errors and carry no interval"


def analyse_crop(subject: RasterMask, settings: CropAnalysis, folder: Path) -> Findings:
    """Measure classes, fields and weed, and write what the job asks for.

    Writes ``preview.png`` where there is a picture, ``fields.gpkg`` and ``fields.parquet`` where fields are given, and
    ``spray.tif`` where weed is weighed without fields. Everything is computed before anything is written.

    Args:
        subject: The mask.
        settings: Of the job.
        folder: The product, not yet published.

    Raises:
        SceneError: When samples or polygons do not go with the map, or no pixel of it was observed.
    """
    subject = named_classes(subject, settings)
    areas = class_areas(subject.read, subject.grid, len(subject.classes))
    if not any(areas.pixels):
        raise EmptySceneError(f"{subject.id}: no pixel of the map was observed, so there is nothing to measure")
    files = settings.files(subject.id)
    estimates = None
    if "samples" in files:
        _refuse_without_areas(subject, areas)
        estimates = estimate_areas(subject, settings, files["samples"], areas)
    fields = measure_fields(subject, settings, files["fields"]) if "fields" in files else None
    zones = _zones(subject, settings) if fields is None else None
    totals = None if zones is None else zones.totals()
    undrawn: list[str] = []
    subject.write_preview(areas, folder, undrawn)
    _write(subject, fields, zones, folder)
    answers = _answers(subject, settings, areas, estimates)
    answers |= {} if fields is None else {"fields": _field_answers(fields, subject.names)}
    answers |= (
        {}
        if totals is None or zones is None
        else {"weed": {"zone_side_pixels": zones.side, **_spray_answers("zones", totals)}}
    )
    headline = _headline(subject, areas, estimates=estimates, fields=fields, totals=totals)
    sections = crop_sections(subject, areas, estimates=estimates, fields=fields, totals=totals, undrawn=undrawn)
    warnings = (*(estimates.warnings if estimates else ()), *(fields.warnings if fields else ()), *undrawn)
    return Findings(headline, answers, sections, warnings)


def named_classes(subject: RasterMask, settings: CropAnalysis) -> RasterMask:
    """Return the mask with the class names that the job gives; names that two classes share get their numbers."""
    last = max([len(subject.classes) - 1, *settings.classes])
    classes: list[ClassEntry] = []
    for number in range(last + 1):
        known = subject.classes[number] if number < len(subject.classes) else None
        name = settings.classes.get(number) or (known.name if known else f"class {number}")
        colour = _COLOURS[number % len(_COLOURS)] if number in settings.classes or known is None else known.colour
        taken = name in {entry.name for entry in classes} or name == NOT_OBSERVED
        classes.append(ClassEntry(name=f"{name} ({number})" if taken else name, colour=colour))
    return replace(subject, classes=tuple(classes))


def _refuse_without_areas(subject: RasterMask, areas: ClassAreas) -> None:
    if areas.areas_ha is None:
        raise SceneError(f"{subject.id}: no areas can be estimated: {areas.reason}. Give the map its CRS")


def _zones(subject: RasterMask, settings: CropAnalysis) -> SprayZones | None:
    rule = spray_rule(settings, subject.names)
    if rule is None:
        return None
    sides = pixel_sides_m(subject.grid)
    if sides is None:
        raise SceneError(f"{subject.id}: zones have a side in metres, and the map is not on the Earth. Give it its CRS")
    side = max(1, round(settings.zone_m / math.sqrt(sides[0] * sides[1])))
    return SprayZones(read=subject.read, grid=subject.grid, n_classes=len(subject.classes), side=side, rule=rule)


def _write(subject: RasterMask, fields: MeasuredFields | None, zones: SprayZones | None, folder: Path) -> None:
    if fields is not None:
        date = min(subject.dates.values(), default=None)
        write_fields(folder, fields, names=subject.names, collection=subject.id, date=date)
    if zones is not None:
        write_spray_map(folder / "spray.tif", zones)


def _answers(
    subject: RasterMask, settings: CropAnalysis, areas: ClassAreas, estimates: AreaEstimates | None
) -> dict[str, Any]:
    classes = area_table(areas, subject.names)
    for number, name in enumerate(subject.names):
        found = None if estimates is None else estimates.accuracy.areas_ha[number]
        if name in classes:
            classes[name]["estimate"] = estimate_json(found, "_ha", _NO_SAMPLES)
    answers: dict[str, Any] = {"classes": classes}
    if estimates is not None:
        answers["accuracy"] = accuracy_json(estimates, settings.design)
    return answers


def _field_answers(fields: MeasuredFields, names: list[str]) -> dict[str, Any]:
    flags = [fields.flags(number) for number in range(len(fields.rows))]
    counted = sorted({flag for found in flags for flag in found})
    answers: dict[str, Any] = {
        "fields": len(fields.rows),
        "area_ha": float(np.sum(fields.fields.placed.areas_m2)) / 1e4,
        "by_majority": {name: sum(row.majority == number for row in fields.rows) for number, name in enumerate(names)},
        "flags": {flag: sum(flag in found for found in flags) for flag in counted},
    }
    if fields.declared is not None:
        pairs = [(d, row.majority) for d, row in zip(fields.declared, fields.rows, strict=True) if d is not None]
        compared = [(declared, majority) for declared, majority in pairs if majority is not None]
        agree = sum(declared == majority for declared, majority in compared)
        answers["declared"] = {
            "compared": len(compared),
            "agree": agree,
            "agree_share": agree / len(compared) if compared else None,
            "rows": "declared",
            "columns": "majority",
            "classes": names,
            "counts": declared_matrix(fields, len(names)).tolist(),
        }
    if fields.spray_totals is not None:
        answers["weed"] = _spray_answers("fields", fields.spray_totals)
    return answers


def declared_matrix(fields: MeasuredFields, n_classes: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Count fields by declared class (rows) and majority (columns)."""
    matrix = np.zeros((n_classes, n_classes), np.int64)
    for declared, row in zip(fields.declared or (), fields.rows, strict=True):
        if declared is not None and row.majority is not None:
            matrix[declared, row.majority] += 1
    return matrix


def _spray_answers(what: str, totals: SprayTotals) -> dict[str, Any]:
    areas = totals.areas_ha or {}
    return {
        what: {name: totals.zones[kind] for kind, name in DECISIONS.items()},
        "spray_ha": areas.get(SPRAY),
        "saved_ha": areas.get(LEAVE),
        "nothing_to_spray_ha": areas.get(NOTHING),
        "undecided_ha": areas.get(UNDECIDED),
        "saved_share": totals.saved_share,
    }


def _headline(
    subject: RasterMask,
    areas: ClassAreas,
    estimates: AreaEstimates | None,
    fields: MeasuredFields | None,
    totals: SprayTotals | None,
) -> dict[str, Any]:
    headline = _class_headline(subject, areas, estimates)
    if estimates is not None:
        headline["overall_accuracy"] = round(estimates.accuracy.overall.value, 4)
        headline["overall_accuracy_se"] = round(estimates.accuracy.overall.standard_error, 4)
    if fields is not None:
        headline["fields"] = len(fields.rows)
        if fields.declared is not None:
            headline["conflicts"] = sum("conflict" in fields.flags(number) for number in range(len(fields.rows)))
    spraying = totals if fields is None else fields.spray_totals
    saved = None if spraying is None else spraying.saved_share
    if saved is not None:
        headline["saved_percent"] = round(100 * saved, 2)
    return headline


def _class_headline(subject: RasterMask, areas: ClassAreas, estimates: AreaEstimates | None) -> dict[str, Any]:
    """Return hectares of every class that is there, estimated where there are samples; pixels where there are none."""
    if estimates is None:
        found = area_headline(subject, areas)
        unit = "_pixels" if areas.areas_ha is None else "_ha"
        return {
            name: value
            for name, value in found.items()
            if name == "observed_percent" or (name.endswith(unit) and value)
        }
    headline: dict[str, Any] = {}
    for name, area in zip(subject.names, estimates.accuracy.areas_ha, strict=True):
        if area.value > 0:
            headline[f"{name}_estimated_ha".replace(" ", "_")] = round(area.value, 2)
            headline[f"{name}_standard_error_ha".replace(" ", "_")] = round(area.standard_error, 2)
    return headline
