"""A sampling design for a map: sizes, allocation, the pixels to interpret, and these as files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from tasks.analysis.crop.samples import class_number, class_numbers
from tasks.analysis.subject import RasterMask
from tasks.answers.area import class_areas
from tasks.answers.crop.planner import Allocation, DrawnUnits, SampleSizes, draw_units, sample_sizes
from tasks.errors import JobError, SampleError
from tasks.geometry.raster_grid import RasterGrid
from tasks.products.vectors import write_gpkg
from tasks.scenes.vectors import Column, VectorTable


@dataclass(frozen=True, kw_only=True)
class SampleWishes:
    """What a sample is to achieve.

    Attributes:
        target_se: Standard error of the overall accuracy.
        anticipated: Accuracy that one expects of a class, by its name.
        anticipated_elsewhere: Of the classes that are not named.
        allocation: How the units are shared among the classes.
        smallest: Units of a class at least, where the allocation is ``minimum``.
        seed: Of the draw.
        leave_out: Names of classes that are not asked about.
    """

    target_se: float = 0.01
    anticipated: Mapping[str, float] = field(default_factory=dict)
    anticipated_elsewhere: float = 0.8
    allocation: Allocation = "minimum"
    smallest: int = 50
    seed: int = 0
    leave_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PlannedSample:
    """A sample that waits for interpreters.

    Attributes:
        grid: Of the map.
        names: Of its classes, which are the strata.
        areas_ha: Of each class.
        sizes: Units per class.
        units: The pixels.
        summary: What was wished and what comes of it, as JSON says it.
    """

    grid: RasterGrid
    names: tuple[str, ...]
    areas_ha: tuple[float, ...]
    sizes: SampleSizes
    units: DrawnUnits
    summary: dict[str, Any]


def plan_sample(subject: RasterMask, wishes: SampleWishes) -> PlannedSample:
    """Size, allocate and draw a sample whose strata are the classes of a map.

    Args:
        subject: The map, with a CRS.
        wishes: What it is to achieve.

    Raises:
        SampleError: When the map has no areas, or a wish is outside its range.
        JobError: When a wish names a class that the map does not have.
    """
    names = subject.names
    areas = class_areas(subject.read, subject.grid, len(names))
    if areas.areas_ha is None:
        raise SampleError(f"{subject.id}: no sample can be drawn by area: {areas.reason}. Give the map its CRS")
    outside = class_numbers(wishes.leave_out, names, "leave_out")
    asked = tuple(0.0 if number in outside else area for number, area in enumerate(areas.areas_ha))
    anticipated = [wishes.anticipated_elsewhere] * len(names)
    for name, accuracy in wishes.anticipated.items():
        number = class_number(name, names)
        if number is None:
            raise JobError(f"--expect {name}: the map has no such class. It has: {', '.join(names)}")
        anticipated[number] = accuracy
    sizes = sample_sizes(
        asked, anticipated, target_se=wishes.target_se, allocation=wishes.allocation, smallest=wishes.smallest
    )
    units = draw_units(subject.read, subject.grid, sizes.sizes, wishes.seed)
    drawn = [int((units.strata == number).sum()) for number in range(len(names))]
    summary = {
        "map": subject.id,
        "target_se": wishes.target_se,
        "expected_se": sizes.expected_se,
        "units_at_best_allocation": sizes.optimum,
        "allocation": wishes.allocation,
        "seed": wishes.seed,
        "units": len(units.rows),
        "strata": {
            name: {"area_ha": asked[k], "anticipated_accuracy": anticipated[k], "units": drawn[k]}
            for k, name in enumerate(names)
            if asked[k] > 0
        },
        "reference": "Olofsson et al. 2014, Remote Sensing of Environment 148, 42, equation 13",
    }
    return PlannedSample(
        grid=subject.grid, names=tuple(names), areas_ha=asked, sizes=sizes, units=units, summary=summary
    )


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
    samples = VectorTable(
        name="samples",
        crs_wkt=grid.crs_wkt,
        geometries=np.asarray(points, object),
        columns=columns,
        geometry_type="Point",
    )
    pixels = VectorTable(
        name="pixels",
        crs_wkt=grid.crs_wkt,
        geometries=np.asarray(shapely.polygons(rings), object),
        columns={"sample": ids},
        geometry_type="Polygon",
    )
    package, facts = planned_files(folder, name)
    write_gpkg(package, samples, pixels)
    facts.write_text(json.dumps(planned.summary, indent=2) + "\n")
    return package, facts


def planned_files(folder: Path, name: str) -> tuple[Path, Path]:
    """Return where the GeoPackage and the facts of a planned sample are written."""
    return folder / f"{name}-samples.gpkg", folder / f"{name}-samples.json"
