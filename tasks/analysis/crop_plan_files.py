"""A planned sample as files for interpreters."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import shapely

from tasks.analysis.crop.plan import PlannedSample
from tasks.products.vectors import write_gpkg
from tasks.scenes.vectors import Column, VectorTable


def write_plan(folder: Path, name: str, planned: PlannedSample) -> tuple[Path, Path]:
    """Write ``<name>-samples.gpkg`` and ``<name>-samples.json``.

    The GeoPackage has two layers: ``samples``, with the columns an interpreter fills in (``reference`` first), and
    ``pixels``, the outlines of what is to be judged. Filled in, it is what ``samples`` of the crop analysis reads.

    Args:
        folder: Exists.
        name: Of the map.
        planned: What to write.

    Returns:
        Both paths.
    """
    units, grid = planned.units, planned.grid
    rows, cols = units.rows.astype(np.float64), units.cols.astype(np.float64)
    points = shapely.points(*grid.pixel_to_world(rows + 0.5, cols + 0.5))
    corners = [grid.pixel_to_world(rows + down, cols + right) for down, right in ((0, 0), (0, 1), (1, 1), (1, 0))]
    rings = np.stack([np.stack(corner, axis=-1) for corner in corners], axis=1)
    ids = np.arange(1, len(rows) + 1)
    strata = [planned.names[number] for number in units.strata]
    columns: dict[str, Column] = {
        "sample": ids,
        "stratum": strata,
        "stratum_area_ha": np.array([planned.areas_ha[number] for number in units.strata], np.float64),
        "inclusion_probability": units.inclusion,
        "reference": [None] * len(rows),
        "second_choice": [None] * len(rows),
        "confidence": [None] * len(rows),
        "interpreter": [None] * len(rows),
        "remarks": [None] * len(rows),
    }
    samples = VectorTable("samples", grid.crs_wkt, np.asarray(points, object), columns, "Point")
    pixels = VectorTable(
        "pixels", grid.crs_wkt, np.asarray(shapely.polygons(rings), object), {"sample": ids}, "Polygon"
    )
    package, facts = planned_files(folder, name)
    write_gpkg(package, samples, pixels)
    facts.write_text(json.dumps(planned.summary, indent=2) + "\n")
    return package, facts


def planned_files(folder: Path, name: str) -> tuple[Path, Path]:
    """Return where the GeoPackage and the facts of a planned sample are written."""
    return folder / f"{name}-samples.gpkg", folder / f"{name}-samples.json"
