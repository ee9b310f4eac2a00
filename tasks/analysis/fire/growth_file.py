"""When the ground of a site burned, as a raster: one class per date of detection."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.transform import Affine

from models.card import ClassEntry
from tasks.analysis.fire.severity_file import NOT_BURNED
from tasks.answers.fire.growth import Growth
from tasks.geometry.box import Box, split
from tasks.geometry.raster_grid import RasterGrid
from tasks.products.cog import RasterProductSpec, write_cog

# The first date is dark, the newest bright: what burns now is seen at once.
_OLDEST, _NEWEST = (78, 12, 24), (255, 214, 64)

# Rows and columns that are read at once.
_WINDOW = 2048


def write_growth(
    steps: Sequence[Growth], observed: Callable[[Box], NDArray[np.bool_]], destination: Path, grid: RasterGrid
) -> None:
    """Write the date at which each pixel was first seen burned.

    Args:
        steps: New ground by date, in the CRS of the grid.
        observed: Reads which pixels of a window the newest scene observed; burned ground needs none.
        destination: Path of the GeoTIFF.
        grid: Of the newest scene.

    Raises:
        ProductError: When the file cannot be written or does not verify.
    """
    dates = sorted({step.date for step in steps})
    spec = RasterProductSpec(grid, "mask", (NOT_BURNED, *_classes(dates)), {"SWATHE_LAYER": "date of detection"})
    ground = [(step.geometry, dates.index(step.date) + 1) for step in steps if not step.geometry.is_empty]
    tree = shapely.STRtree([geometry for geometry, _ in ground])

    def read(box: Box) -> NDArray[Any]:
        numbers = np.zeros(box.shape, spec.dtype)
        near = tree.query(_outline(box, grid))
        if len(near):
            # What burned first is laid on last.
            painted = sorted((ground[int(k)] for k in near), key=lambda pair: -pair[1])
            numbers = rasterize(painted, out=numbers, transform=_transform(box, grid))
        return np.where((numbers == 0) & ~observed(box), spec.not_observed, numbers).astype(spec.dtype)

    write_cog(read, destination, spec)


def is_observed(geometry: Any, observed: Callable[[Box], NDArray[np.bool_]], grid: RasterGrid) -> bool:  # noqa: ANN401
    """Tell whether all of a geometry lies on the grid and was observed.

    Args:
        geometry: Polygons in the CRS of the grid.
        observed: Reads which pixels of a window were.
        grid: Of the pixels; they are read a window at a time.
    """
    if not shapely.covers(_outline(Box.of_shape(grid.shape), grid).buffer(_half_pixel(grid)), geometry):
        return False
    for box in split(grid.shape, (_WINDOW, _WINDOW)):
        if not shapely.intersects(_outline(box, grid), geometry):
            continue
        burned = rasterize([geometry], out_shape=box.shape, transform=_transform(box, grid), dtype=np.uint8) > 0
        if burned.any() and not observed(box)[burned].all():
            return False
    return True


def _half_pixel(grid: RasterGrid) -> float:
    return 0.5 * math.sqrt(grid.pixel_area)


def _classes(dates: Sequence[str]) -> tuple[ClassEntry, ...]:
    shares = np.linspace(0.0, 1.0, len(dates)) if len(dates) > 1 else np.ones(len(dates))
    colours = (np.rint(np.array(_OLDEST) * (1 - share) + np.array(_NEWEST) * share).astype(int) for share in shares)
    return tuple(
        ClassEntry(name=name, colour="#" + "".join(f"{part:02x}" for part in colour))
        for name, colour in zip(dates, colours, strict=True)
    )


def _transform(box: Box, grid: RasterGrid) -> Affine:
    return Affine(*grid.affine) @ Affine.translation(box.start[1], box.start[0])


def _outline(box: Box, grid: RasterGrid) -> shapely.Polygon:
    (top, left), (bottom, right) = box.start, box.stop
    rows, cols = np.array([top, top, bottom, bottom], np.float64), np.array([left, right, right, left], np.float64)
    return shapely.Polygon(np.column_stack(grid.pixel_to_world(rows, cols)))
