"""The segments of a panoptic scene: a row per thing and per class of stuff."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.analysis.instances.raster import Found
from tasks.analysis.subject import Findings, ReadLayer
from tasks.answers.area import ClassAreas, class_areas, component_areas_ha
from tasks.geometry.raster_grid import RasterGrid
from tasks.jobs.instances import PanopticRules

_HEADER = ("id", "class_number", "class", "kind", "score", "pixels", "area_ha")


def describe_segments(
    found: Found, read: ReadLayer, grid: RasterGrid, names: list[str], rules: PanopticRules, folder: Path
) -> Findings:
    """Measure segments, and write ``segments.csv``.

    Args:
        found: The things.
        read: Reads the class at each pixel of a window.
        grid: Of the scene.
        names: Of the classes, by number.
        rules: Which classes are things.
        folder: The product, not yet published.
    """
    areas = class_areas(read, grid, len(names))
    with (folder / "segments.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_HEADER)
        writer.writerows(_things(found, grid, names))
        writer.writerows(_stuff(areas, names, rules))
    by_class = {
        name: {
            "kind": _kind(label, rules),
            "segments": int((found.labels == label).sum()) if label in rules.things else int(areas.pixels[label] > 0),
            "pixels": areas.pixels[label],
            "area_ha": None if areas.areas_ha is None else areas.areas_ha[label],
        }
        for label, name in enumerate(names)
        if label
    }
    return Findings({}, {"segments": {"by_class": by_class, "all_segments_in": "segments.csv"}})


def _things(found: Found, grid: RasterGrid, names: list[str]) -> Iterator[tuple[Any, ...]]:
    hectares = component_areas_ha(found.areas, grid)
    for k, label in enumerate(found.labels.tolist()):
        score = "" if found.scores is None else f"{float(found.scores[k]):.6f}"
        area = "" if hectares is None else f"{float(hectares[k]):.6f}"
        yield k + 1, label, names[label], "thing", score, int(found.pixels[k]), area


def _stuff(areas: ClassAreas, names: list[str], rules: PanopticRules) -> Iterator[tuple[Any, ...]]:
    for label, name in enumerate(names):
        if label and label not in rules.things and areas.pixels[label]:
            area = "" if areas.areas_ha is None else f"{areas.areas_ha[label]:.6f}"
            yield "", label, name, "stuff", "", areas.pixels[label], area


def _kind(label: int, rules: PanopticRules) -> str:
    return "thing" if label in rules.things else "stuff"
