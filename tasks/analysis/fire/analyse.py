"""Fires of a raster mask: outlines, areas, severity."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.analysis.area import area_headline, area_table
from tasks.analysis.fire.report import fire_sections
from tasks.analysis.fire.severity import SeverityReader, opened_severity, why_unrated
from tasks.analysis.fire.severity_file import write_severity
from tasks.analysis.masks.names import absent_class
from tasks.analysis.subject import Findings, RasterMask
from tasks.answers.area import PixelAreas, class_areas, component_areas_ha
from tasks.answers.components import Components, join
from tasks.answers.fire.detections import Detection, detection_columns, detections, fire_ids
from tasks.answers.fire.geodesy import Earth
from tasks.answers.fire.measures import measure_fires, observed_share
from tasks.answers.fire.severity import CAVEAT, UNRATED
from tasks.answers.rounding import rounded
from tasks.errors import JobError
from tasks.geometry.box import Box
from tasks.jobs.fire import FireAnalysis
from tasks.products.outlines import outlines
from tasks.products.vectors import write_gpkg, write_parquet
from tasks.scenes.vectors import Column, VectorTable

LAYER = "fires"
OBJECTS = "objects"
# The largest have a row in summary.json; a scene of stubble burning may hold ten thousands.
MOST_ROWS = 1000


@dataclass(frozen=True)
class _Found:
    """Fires above the minimum mapping unit, and what was left out below it."""

    fires: list[Detection]
    left_out: int
    left_out_ha: float | None
    reason: str | None


def analyse_fire(subject: RasterMask, settings: FireAnalysis, folder: Path) -> Findings:
    """Find and measure the fires of a mask.

    Writes ``objects.gpkg``, ``objects.parquet``, ``severity.tif`` where there is severity, and ``preview.png`` where
    there is a picture.

    Args:
        subject: The mask.
        settings: Of the job.
        folder: The product, not yet published.

    Raises:
        JobError: When the mask has no such class.
        BandError: When a band that the settings name is not there.
    """
    if settings.label >= len(subject.classes):
        raise JobError(
            f"{subject.id}: analysis.label is {settings.label}; the mask has the classes 0 to "
            f"{len(subject.classes) - 1} ({', '.join(subject.names)}). Name one of them"
        )
    unrated = why_unrated(subject, settings)
    opened = nullcontext(None) if unrated is not None else opened_severity(subject, settings)
    areas = class_areas(subject.read, subject.grid, len(subject.classes))
    with opened as severity:
        found = _find(subject, settings, severity)
        if severity is not None:
            write_severity(
                severity.read,
                folder / "severity.tif",
                grid=subject.grid,
                table=severity.table,
                offset=severity.offset.value,
            )
        _write_objects(found, subject, settings=settings, severity=severity, folder=folder)
        undrawn: list[str] = []
        sections = fire_sections(
            subject, settings, areas=areas, fires=found.fires, severity=severity, unrated=unrated, undrawn=undrawn
        )
    subject.write_preview(areas, folder, undrawn)
    answers: dict[str, Any] = {
        "classes": area_table(areas, subject.names),
        "fires": [_row(fire) for fire in found.fires[:MOST_ROWS]],
        "fires_found": len(found.fires),
        "all_fires_in": f"{OBJECTS}.gpkg",
        "minimum_mapping_unit": _minimum(settings, found),
        "severity": None if severity is None else _severity_facts(severity, found.fires),
        "dates": subject.dates,
    }
    answers |= {"severity_is_null_because": unrated} if unrated else {}
    headline = area_headline(subject, areas) | _headline(found, severity)
    held = [number for number, pixels in enumerate(areas.pixels) if pixels]
    warnings = (
        *absent_class(subject.names, settings.label, held, subject.nodata),
        *_warnings(subject, found, severity),
    )
    return Findings(headline, answers, sections, (*warnings, *undrawn))


def date_of_fire(dates: dict[str, str]) -> str | None:
    """Return the date at which the fires were seen: of the role ``post``, else the latest; None without any."""
    return dates.get("post") or max(dates.values(), default=None)


def _find(subject: RasterMask, settings: FireAnalysis, severity: SeverityReader | None) -> _Found:
    def burned(box: Box) -> NDArray[np.bool_]:
        inside: NDArray[np.bool_] = subject.read(box) == settings.label
        return inside

    reason = PixelAreas(subject.grid).reason
    everything = join(burned, subject.grid.shape, settings.connectivity)
    kept, left_out, left_out_ha = _above_minimum(everything, subject, settings)
    n_classes = 0 if severity is None else len(severity.table.classes)
    rate = None if severity is None else severity.rate
    sums = measure_fires(kept, subject.grid, rate=rate, confidence=subject.confidence, n_classes=n_classes)
    shares = observed_share(sums, _not_observed(subject))
    earth = None if reason is not None or subject.grid.crs_wkt is None else Earth(subject.grid.crs_wkt)
    table = None if severity is None else severity.table
    geometries = outlines(kept, subject.grid)
    ids = fire_ids(date_of_fire(subject.dates) or subject.id, subject.id, geometries, subject.grid)
    found = detections(sums, geometries, observed=shares, earth=earth, table=table, ids=ids)
    return _Found(found, left_out, left_out_ha, reason)


def _above_minimum(
    everything: Components, subject: RasterMask, settings: FireAnalysis
) -> tuple[Components, int, float | None]:
    areas = component_areas_ha(everything, subject.grid)
    if areas is None:
        return everything, 0, None
    keep = areas >= settings.min_area_ha
    return everything.only(keep), int((~keep).sum()), round(float(areas[~keep].sum()), 6)


def _not_observed(subject: RasterMask) -> Callable[[Box], NDArray[np.bool_]]:
    def unseen(box: Box) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = subject.read(box) >= len(subject.classes)
        return found

    return unseen


def _write_objects(
    found: _Found, subject: RasterMask, settings: FireAnalysis, severity: SeverityReader | None, folder: Path
) -> None:
    table = None if severity is None else severity.table
    count = len(found.fires)
    geometries = np.empty(count, dtype=object)
    geometries[:] = [fire.geometry for fire in found.fires]
    facts: dict[str, Column] = {
        "scene": [subject.id] * count,
        "date": [date_of_fire(subject.dates)] * count,
        "min_area_ha": np.full(count, settings.min_area_ha),
        "severity_table": [None if table is None else table.name] * count,
        "dnbr_offset": np.full(count, np.nan if severity is None else severity.offset.value),
    }
    vectors = VectorTable(
        name=LAYER,
        crs_wkt=subject.grid.crs_wkt,
        geometries=geometries,
        columns={**detection_columns(found.fires, table), **facts},
    )
    write_gpkg(folder / f"{OBJECTS}.gpkg", vectors)
    write_parquet(folder / f"{OBJECTS}.parquet", vectors)


def _row(fire: Detection) -> dict[str, Any]:
    return {name: value for name, value in vars(fire).items() if name != "geometry"}


def _minimum(settings: FireAnalysis, found: _Found) -> dict[str, Any]:
    if found.reason is not None:
        return {"area_ha": None, "area_ha_is_null_because": found.reason}
    return {"area_ha": settings.min_area_ha, "smaller_fires": found.left_out, "smaller_fires_ha": found.left_out_ha}


def _severity_facts(severity: SeverityReader, fires: list[Detection]) -> dict[str, Any]:
    table, offset = severity.table, severity.offset
    names = [*(entry.name for entry in table.classes), UNRATED]
    rated = [fire.severity_ha for fire in fires if fire.severity_ha is not None]
    totals = {name: round(sum(areas[name] for areas in rated), 6) for name in names}
    return {
        "table": table.name,
        "index": table.index,
        "reference": table.reference,
        "verified": table.verified,
        "thresholds_x1000": {entry.name: entry.above for entry in table.classes},
        "dnbr_offset": offset.value,
        "dnbr_offset_from": offset.source,
        "ring_pixels": offset.ring_pixels,
        "dnbr_offset_reason": offset.reason,
        "area_ha": totals if len(rated) == len(fires) else None,
        "caveat": CAVEAT,
    }


def _headline(found: _Found, severity: SeverityReader | None) -> dict[str, Any]:
    areas = [fire.area_ha for fire in found.fires if fire.area_ha is not None]
    headline: dict[str, Any] = {"fires": len(found.fires)}
    if found.reason is None:
        headline["largest_fire_ha"] = rounded(max(areas, default=0.0), 4)
    if severity is not None and found.reason is None:
        high = sum(high_severity_ha(fire, severity) for fire in found.fires)
        headline["high_severity_ha"] = rounded(high, 4)
    return headline


def high_severity_ha(fire: Detection, severity: SeverityReader) -> float:
    """Return the area of the table's ``high`` class and above."""
    names = [entry.name for entry in severity.table.classes]
    wanted = names[names.index(severity.table.high) :]
    return sum((fire.severity_ha or {}).get(name, 0.0) for name in wanted)


def _warnings(subject: RasterMask, found: _Found, severity: SeverityReader | None) -> list[str]:
    warnings = []
    if found.reason is not None:
        warnings.append(f"no areas and no minimum mapping unit: {found.reason}")
    if not subject.dates:
        warnings.append("the scene's id carries no date that source.dates finds: fires are not followed over nights")
    if severity is not None and severity.offset.reason is not None:
        warnings.append(f"no dNBR offset was taken off: {severity.offset.reason}")
    return warnings
