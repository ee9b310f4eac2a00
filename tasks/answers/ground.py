"""How large the pixels of a raster are on the ground."""

from __future__ import annotations

import numpy as np

from tasks.answers.area import PixelAreas
from tasks.geometry.geodetic import Geodetic
from tasks.geometry.raster_grid import RasterGrid


def pixel_sides_m(grid: RasterGrid) -> tuple[float, float] | None:
    """Return the geodesic sides of the middle pixel, ``rows, cols`` in metres; None where it is not on the Earth."""
    if PixelAreas(grid).reason is not None:
        return None
    row, col = grid.rows // 2, grid.cols // 2
    rows, cols = np.array([row, row + 1, row], np.float64), np.array([col, col, col + 1], np.float64)
    earth = Geodetic(grid.crs_wkt or "")
    lon, lat = earth.degrees(*grid.pixel_to_world(rows, cols))
    if not np.isfinite([lon, lat]).all():
        return None
    _, _, sides = earth.geod.inv(lon[[0, 0]], lat[[0, 0]], lon[1:], lat[1:])
    return (float(sides[0]), float(sides[1])) if min(sides) > 0 else None
