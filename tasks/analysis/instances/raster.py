"""Instances of a raster: how many of each class, how large, and their outlines."""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.card import ClassEntry
from tasks.analysis.subject import Findings
from tasks.answers.area import PixelAreas, component_areas_ha
from tasks.answers.components import Numbered
from tasks.geometry.raster_grid import RasterGrid
from tasks.instances.paint import InstanceTable
from tasks.products.outlines import outlines
from tasks.products.vectors import write_gpkg, write_parquet
from tasks.reports.blocks import Section, Table
from tasks.reports.page_figures import number
from tasks.scenes.vectors import VectorTable

NAME = "instances"
# The largest have a row in summary.json; a scene may hold ten thousands.
MOST_ROWS = 1000


@dataclass(frozen=True, kw_only=True)
class Found:
    """Instances, and what is known of each by id.

    Attributes:
        areas: Where they are.
        labels: Class number of each.
        pixels: How many pixels of each are visible.
        scores: Of each, 0 to 1; None where they have none.
        touches_border: Which of them reach the edge of the scene, or what was not observed.
    """

    areas: Numbered
    labels: NDArray[np.integer[Any]]
    pixels: NDArray[np.int64]
    scores: NDArray[np.float32] | None
    touches_border: NDArray[np.bool_]

    @classmethod
    def of_table(cls, areas: Numbered, table: InstanceTable) -> Found:
        """Take the columns of a table."""
        scores = None if np.isnan(table.scores).any() else table.scores
        return cls(
            areas=areas, labels=table.labels, pixels=table.pixels, scores=scores, touches_border=table.touches_border
        )


def describe_instances(found: Found, grid: RasterGrid, classes: tuple[ClassEntry, ...], folder: Path) -> Findings:
    """Count and measure instances, and write ``instances.gpkg`` and ``instances.parquet``.

    Args:
        found: The instances.
        grid: Of the scene.
        classes: By number.
        folder: The product, not yet published.
    """
    reason = PixelAreas(grid).reason
    hectares = component_areas_ha(found.areas, grid)
    table = _vectors(found, hectares, grid, classes)
    write_gpkg(folder / f"{NAME}.gpkg", table)
    write_parquet(folder / f"{NAME}.parquet", table)
    by_class = _by_class(found, hectares, classes)
    answers: dict[str, Any] = {
        NAME: {
            "found": len(found.labels),
            "at_border": int(found.touches_border.sum()),
            "by_class": by_class,
            "rows": _rows(found, hectares, classes),
            "all_instances_in": f"{NAME}.gpkg",
        }
    }
    if reason is not None:
        answers[NAME]["area_ha_is_null_because"] = reason
    headline = {f"{name.replace(' ', '_')}_instances": facts["instances"] for name, facts in by_class.items()}
    return Findings(headline, answers, (_section(by_class),))


def _vectors(
    found: Found, hectares: NDArray[np.float64] | None, grid: RasterGrid, classes: tuple[ClassEntry, ...]
) -> VectorTable:
    n = len(found.labels)
    columns: dict[str, NDArray[Any] | list[Any]] = {
        "id": np.arange(1, n + 1, dtype=np.int64),
        "class_number": found.labels.astype(np.int32),
        "class": [classes[label].name for label in found.labels.tolist()],
        "score": np.full(n, np.nan) if found.scores is None else found.scores.astype(np.float64).round(6),
        "pixels": found.pixels.astype(np.int64),
        "area_ha": np.full(n, np.nan) if hectares is None else hectares,
        "touches_border": found.touches_border,
    }
    return VectorTable(name=NAME, crs_wkt=grid.crs_wkt, geometries=outlines(found.areas, grid), columns=columns)


def _by_class(
    found: Found, hectares: NDArray[np.float64] | None, classes: tuple[ClassEntry, ...]
) -> dict[str, dict[str, Any]]:
    facts = {}
    for label, entry in enumerate(classes):
        own = found.labels == label
        if label == 0 and not own.any():
            # Mostly background, whose areas nobody asked for.
            continue
        facts[entry.name] = {
            "instances": int(own.sum()),
            "pixels": int(found.pixels[own].sum()),
            "area_ha": None if hectares is None else fsum(hectares[own].tolist()),
            "largest_ha": None if hectares is None or not own.any() else float(hectares[own].max()),
        }
    return facts


def _rows(found: Found, hectares: NDArray[np.float64] | None, classes: tuple[ClassEntry, ...]) -> list[dict[str, Any]]:
    """Tell of the largest, in the order of their ids."""
    largest = np.sort(np.argsort(-found.pixels, kind="stable")[:MOST_ROWS])
    return [
        {
            "id": k + 1,
            "class": classes[int(found.labels[k])].name,
            "score": None if found.scores is None else round(float(found.scores[k]), 6),
            "pixels": int(found.pixels[k]),
            "area_ha": None if hectares is None else float(hectares[k]),
            "touches_border": bool(found.touches_border[k]),
        }
        for k in largest.tolist()
    ]


def _section(by_class: dict[str, dict[str, Any]]) -> Section:
    rows = tuple(
        (name, number(facts["instances"]), number(facts["pixels"]), _hectares(facts["area_ha"]))
        for name, facts in by_class.items()
    )
    note = f"Each one with its outline, score and area in {NAME}.gpkg; its id at every pixel in {NAME}.tif."
    return Section("Instances", (Table("Instances by class", ("Class", "Instances", "Pixels", "ha"), rows, note),))


def _hectares(area: float | None) -> str:
    return "not computed" if area is None else number(area)
