"""What a report shows of fires: the picture before and after, severity, a table of fires."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tasks.analysis.fire.severity import SeverityReader
from tasks.analysis.fire.severity_file import severity_classes
from tasks.analysis.masks.raster import on_grid
from tasks.analysis.subject import RasterMask
from tasks.answers.area import ClassAreas
from tasks.answers.fire.detections import Detection
from tasks.answers.fire.severity import CAVEAT, UNRATED
from tasks.jobs.fire import FireAnalysis
from tasks.reports.blocks import Block, Paragraph, Picture, Section, Table
from tasks.reports.legend import LegendEntry
from tasks.reports.page_figures import number
from tasks.reports.pictures.charts import Bar, bar_chart
from tasks.reports.pictures.drawing import rgb
from tasks.reports.pictures.maps import map_picture
from tasks.reports.pictures.preview import stretch
from tasks.reports.pictures.product_preview import attempt
from tasks.reports.pictures.raster_picture import RasterPicture, read_picture, sparse_mask
from tasks.reports.raster_section import extent_section, plain_map, raster_maps

_PALE = 110
# More rows than these nobody reads; the files hold all.
_LONGEST = 30
_NONE = "\u2013"


def fire_sections(  # noqa: PLR0913 - everything that was found
    subject: RasterMask,
    settings: FireAnalysis,
    areas: ClassAreas,
    fires: Sequence[Detection],
    severity: SeverityReader | None,
    unrated: str | None,
    undrawn: list[str],
) -> tuple[Section, ...]:
    """Return the sections of a report on fires.

    Args:
        subject: The mask.
        settings: Of the job.
        areas: Of the mask's classes.
        fires: The largest first.
        severity: With its bands open; None where there is none.
        unrated: Why there is none.
        undrawn: Gets a warning where maps cannot be drawn.
    """
    pictures = attempt("map", lambda: _pictures(subject, settings, severity), undrawn)
    maps = (Section("Map", tuple(pictures)),) if pictures else ()
    return (*maps, extent_section(areas, subject), _fires(fires, settings), _severity(fires, severity, unrated))


def _pictures(subject: RasterMask, settings: FireAnalysis, severity: SeverityReader | None) -> list[Picture]:
    pictures: list[Picture] = []
    if settings.pre_picture is not None and subject.bands is not None:
        before = on_grid(subject.bands(settings.pre_picture), subject.grid)
        picture = read_picture(before, settings.pre_picture, subject.read)
        pictures.append(raster_maps(subject, picture, "Before the fire")[0])
    if subject.picture is None:
        return [*pictures, plain_map(subject, subject.grid)]
    pictures += raster_maps(subject, subject.picture, "After the fire")
    if severity is not None:
        pictures.append(_severity_picture(subject, subject.picture, severity))
    return pictures


def _severity_picture(subject: RasterMask, picture: RasterPicture, severity: SeverityReader) -> Picture:
    """Paint every pixel in its class's colour over the picture, which is turned to pale grey."""
    rated = sparse_mask(subject.grid.shape, severity.read)
    grey = stretch(picture.image, picture.observed).mean(axis=2, keepdims=True)
    painted = np.broadcast_to(_PALE + (255 - _PALE) * grey / 255, (*grey.shape[:2], 3)).copy()
    classes = severity_classes(severity.table)
    for label, entry in enumerate(classes[1:], start=1):
        painted[rated == label] = rgb(entry.colour)
    names = ", ".join(entry.name for entry in severity.table.classes)
    drawn = map_picture(
        np.rint(painted).astype(np.uint8), rated, legend={}, pixel_m=picture.pixel_m,
        alt=f"Burn severity within the mapped fires, in the classes {names}",
        caption=f"Burn severity by {severity.table.name} ({severity.table.index}).",
    )  # fmt: skip
    legend = tuple(LegendEntry(entry.name, entry.colour) for entry in classes[1:])
    return replace(drawn, legend=(*legend, *drawn.legend))


def _fires(fires: Sequence[Detection], settings: FireAnalysis) -> Section:
    unit = f"Minimum mapping unit {number(settings.min_area_ha)} ha, {settings.connectivity} neighbours per pixel."
    if not fires:
        return Section("Fires", (Paragraph(f"No fire was mapped. {unit}"),))
    header = ("Fire", "ha", "Perimeter km", "Mean dNBR", "Max dNBR", "Observed %", "Centre")
    shown = "" if len(fires) <= _LONGEST else f" The {_LONGEST} largest of {len(fires)}; objects.gpkg holds all."
    note = (
        f"{unit} Areas on the ellipsoid; perimeters of the outer rings along the edges of pixels; observed: share of "
        f"the surroundings of the fire.{shown}"
    )
    rows = tuple(_fire_row(fire) for fire in fires[:_LONGEST])
    return Section("Fires", (Table("Fires, the largest first", header, rows, note),))


def _fire_row(fire: Detection) -> tuple[str, ...]:
    figures = (fire.area_ha, fire.perimeter_km, fire.mean_dnbr, fire.max_dnbr, fire.observed_percent)
    centre = _NONE
    if fire.latitude is not None and fire.longitude is not None:
        centre = f"{fire.latitude:.4f}, {fire.longitude:.4f}"
    return (fire.id, *(_NONE if value is None else number(value) for value in figures), centre)


def _severity(fires: Sequence[Detection], severity: SeverityReader | None, unrated: str | None) -> Section:
    if severity is None:
        return Section("Severity", (Paragraph(f"Severity was not computed: {unrated}.", "note"),))
    table = severity.table
    names = [*(entry.name for entry in table.classes), UNRATED]
    totals = [sum((fire.severity_ha or {}).get(name, 0.0) for fire in fires) for name in names]
    whole = sum(totals)
    bounds = ["below", *(number(entry.above or 0.0) for entry in table.classes[1:]), _NONE]
    rows = tuple(
        (name, bound, number(total), number(100 * total / whole) if whole else _NONE)
        for name, bound, total in zip(names, bounds, totals, strict=True)
    )
    # That thresholds were not compared is said where the method is described: docs/fire.md.
    state = "; thresholds compared with the publication" if table.verified else ""
    offset = f"dNBR offset {severity.offset.value:.3f} ({severity.offset.source})"
    note = f"{table.reference}{state}. {offset}."
    header = ("Class", f"{table.index} x 1000 from", "ha", "%")
    colours = [entry.colour for entry in severity_classes(table)][1:]
    blocks: list[Block] = [Table("Severity within the fires", header, rows, note)]
    if whole:
        bars = [Bar(name, total, colour) for name, total, colour in zip(names, totals, colours, strict=True)]
        blocks.append(bar_chart("Area by severity", "ha", bars))
    return Section("Severity", (*blocks, Paragraph(CAVEAT, "note")))
