"""Structures of a picture: their shape, position and size."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.analysis.subject import Findings, RasterMask
from tasks.answers.area import class_areas
from tasks.answers.rounding import rounded
from tasks.answers.structures import Structure, Structures, find_structures
from tasks.errors import OversizedSceneError
from tasks.geometry.box import Box
from tasks.jobs.structures import StructuresAnalysis
from tasks.reports.blocks import Block, Paragraph, Section, Table
from tasks.reports.page_figures import number
from tasks.reports.pictures.product_preview import attempt
from tasks.reports.raster_section import map_section, plain_map

# Of a mask that is looked at as a whole, five bytes or more a pixel.
_MOST_PIXELS = 1 << 27
_NO_SPACING = "the picture states no spacing; lengths are in pixels. Give analysis.spacing_mm"
_MOST_ROWS = 100


@dataclass(frozen=True)
class _Scale:
    """How far apart pixels are, and what lengths are called.

    Attributes:
        spacing: Down and across.
        unit: ``mm`` or ``px``.
    """

    spacing: tuple[float, float]
    unit: str

    @property
    def square(self) -> str:
        """What areas are called."""
        return "mm2" if self.unit == "mm" else "pixels"


def analyse_structures(subject: RasterMask, settings: StructuresAnalysis, folder: Path) -> Findings:
    """Measure every structure, and write ``structures.csv`` and ``preview.png``.

    Args:
        subject: The mask.
        settings: Of the job.
        folder: The product, not yet published.

    Raises:
        OversizedSceneError: When the mask is too large to be looked at as a whole.
    """
    rows, cols = subject.grid.shape
    if rows * cols > _MOST_PIXELS:
        raise OversizedSceneError(
            f"{subject.id}: {rows} x {cols} pixels; structures are measured in masks of up to {_MOST_PIXELS:,} pixels. "
            "Cut it, or ask for areas (analysis.kind: area)"
        )
    scale = _scale(subject, settings)
    found = find_structures(
        subject.read(Box.of_shape((rows, cols))),
        len(subject.classes),
        spacing=scale.spacing,
        connectivity=settings.connectivity,
        smallest_pixels=settings.smallest_pixels,
    )
    names = subject.names
    _write_csv(folder / "structures.csv", found.measured, names, scale)
    undrawn: list[str] = []
    subject.write_preview(class_areas(subject.read, subject.grid, len(subject.classes)), folder, undrawn)

    def draw() -> Section:
        if subject.picture is not None:
            return map_section(subject, subject.picture)
        return Section("Map", (plain_map(subject, subject.grid),))

    drawn = attempt("map", draw, undrawn)
    sections = (*(() if drawn is None else (drawn,)), _section(found, names, settings, scale))
    answers: dict[str, Any] = {
        "unit": scale.unit,
        "spacing_mm": list(scale.spacing) if scale.unit == "mm" else None,
        "classes": {name: _class_facts(found, label, scale) for label, name in enumerate(names) if label},
        "structures": [_facts(one, names, scale) for one in found.measured],
    }
    if scale.unit != "mm":
        answers["spacing_is_null_because"] = _NO_SPACING
    return Findings(_headline(found, names, scale), answers, sections, (*_warnings(found, names, settings), *undrawn))


def _scale(subject: RasterMask, settings: StructuresAnalysis) -> _Scale:
    spacing = settings.spacing_mm or subject.grid.spacing_mm
    return _Scale((1.0, 1.0), "px") if spacing is None else _Scale(spacing, "mm")


def _of_class(found: Structures, label: int) -> list[Structure]:
    return [one for one in found.measured if one.label == label]


def _headline(found: Structures, names: Sequence[str], scale: _Scale) -> dict[str, Any]:
    headline: dict[str, Any] = {}
    for label, name in enumerate(names):
        if label:
            key = name.replace(" ", "_")
            headline[f"{key}_{scale.square}"] = rounded(found.pixels[label] * math.prod(scale.spacing), 2)
            headline[f"{key}_parts"] = len(_of_class(found, label)) + found.n_small[label]
    return headline


def _class_facts(found: Structures, label: int, scale: _Scale) -> dict[str, Any]:
    own = _of_class(found, label)
    facts: dict[str, Any] = {
        "pixels": found.pixels[label],
        f"area_{scale.square}": rounded(found.pixels[label] * math.prod(scale.spacing), 4),
        "parts": len(own) + found.n_small[label],
        "parts_not_measured": found.n_small[label],
    }
    if own:
        tops, lefts = zip(*(one.start for one in own), strict=True)
        bottoms, rights = zip(*(one.stop for one in own), strict=True)
        height, width = max(bottoms) - min(tops), max(rights) - min(lefts)
        facts |= {
            f"height_{scale.unit}": rounded(height * scale.spacing[0], 4),
            f"width_{scale.unit}": rounded(width * scale.spacing[1], 4),
        }
    return facts


def _facts(one: Structure, names: Sequence[str], scale: _Scale) -> dict[str, Any]:
    """Return what is known of a structure, by names that carry units."""
    unit, (down, right) = scale.unit, scale.spacing
    facts = {
        "id": one.id,
        "label": one.label,
        "class": names[one.label],
        "pixels": one.n_pixels,
        f"area_{scale.square}": one.area,
        "centre_row": one.centre[0],
        "centre_col": one.centre[1],
        "first_row": one.start[0],
        "first_col": one.start[1],
        "last_row": one.stop[0] - 1,
        "last_col": one.stop[1] - 1,
    }
    if unit == "mm":
        # From the outer corner of the first pixel.
        facts |= {"centre_down_mm": (one.centre[0] + 0.5) * down, "centre_right_mm": (one.centre[1] + 0.5) * right}
    facts |= {
        f"height_{unit}": one.height,
        f"width_{unit}": one.width,
        f"perimeter_{unit}": one.perimeter,
        f"longest_{unit}": one.longest,
        f"narrowest_{unit}": one.narrowest,
        f"major_axis_{unit}": one.major_axis,
        f"minor_axis_{unit}": one.minor_axis,
        "direction_degrees": one.direction_degrees,
        "solidity": one.solidity,
        "circularity": one.circularity,
        "touches_edge": one.touches_edge,
    }
    return {name: rounded(value, 4) if isinstance(value, float) else value for name, value in facts.items()}


def _write_csv(path: Path, found: Sequence[Structure], names: Sequence[str], scale: _Scale) -> None:
    nothing = Structure(
        id=0, label=0, n_pixels=0, area=0, perimeter=0, centre=(0, 0), start=(0, 0), stop=(0, 0), height=0, width=0,
        longest=0, narrowest=0, major_axis=0, minor_axis=0, direction_degrees=0, solidity=0, circularity=0,
        touches_edge=False,
    )  # fmt: skip
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(_facts(nothing, names, scale)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(_facts(one, names, scale) for one in found)


def _section(found: Structures, names: Sequence[str], settings: StructuresAnalysis, scale: _Scale) -> Section:
    unit = "mm" if scale.unit == "mm" else "pixels"
    blocks: list[Block] = [] if scale.unit == "mm" else [Paragraph(_NO_SPACING[0].upper() + _NO_SPACING[1:], "note")]
    header = (
        "Structure", "Area", "Centre (row, col)", "Height", "Width", "Longest", "Narrowest", "Direction", "Solidity",
    )  # fmt: skip
    rows = tuple(_row(one, names) for one in found.measured[:_MOST_ROWS])
    more = len(found.measured) - len(rows)
    note = (
        f"Lengths in {unit}, areas in {'mm²' if scale.unit == 'mm' else 'pixels'}. Parts of {settings.connectivity} "
        "neighbours; longest and narrowest are diameters between parallels (Feret), the direction is that of the major "
        "axis from the horizontal. " + (f"{more} more in structures.csv." if more else "All of it: structures.csv.")
    )
    blocks.append(Table("Structures", header, rows, note) if rows else Paragraph("No structure was found."))
    return Section("Structures", tuple(blocks))


def _row(one: Structure, names: Sequence[str]) -> tuple[str, ...]:
    return (
        f"{names[one.label]} {one.id}",
        number(one.area),
        f"{one.centre[0]:.0f}, {one.centre[1]:.0f}",
        number(one.height),
        number(one.width),
        number(one.longest),
        number(one.narrowest),
        f"{one.direction_degrees:.0f}°",
        number(one.solidity),
    )


def _warnings(found: Structures, names: Sequence[str], settings: StructuresAnalysis) -> Iterator[str]:
    absent = [name for label, name in enumerate(names) if label and not found.pixels[label]]
    if absent:
        yield f"not found in the picture: {', '.join(absent)}"
    cut = [one.id for one in found.measured if one.touches_edge]
    if cut:
        shown = ", ".join(map(str, cut[:10])) + (", ..." if len(cut) > 10 else "")
        yield f"{len(cut)} structure(s) reach the edge of the picture, or what was not observed, and may go on: {shown}"
    n_small = sum(found.n_small.values())
    if n_small:
        yield f"{n_small} part(s) of fewer than {settings.smallest_pixels} pixels were counted and not measured"
