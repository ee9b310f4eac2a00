"""How large the pixels of a raster are on the ground."""

from __future__ import annotations

import numpy as np
from pyproj import CRS, Transformer

from tasks.answers.area import PixelAreas
from tasks.scenes.raster_grid import RasterGrid


def pixel_sides_m(grid: RasterGrid) -> tuple[float, float] | None:
    """Return the geodesic sides of the middle pixel, ``rows, cols`` in metres; None where it is not on the Earth."""
    if PixelAreas(grid).reason is not None:
        return None
    crs = CRS.from_wkt(grid.crs_wkt or "").to_2d()
    geod = crs.get_geod()
    row, col = grid.rows // 2, grid.cols // 2
    rows, cols = np.array([row, row + 1, row], np.float64), np.array([col, col, col + 1], np.float64)
    to_degrees = Transformer.from_crs(crs, crs.geodetic_crs or crs, always_xy=True)
    lon, lat = to_degrees.transform(*grid.pixel_to_world(rows, cols))
    if geod is None or not np.isfinite([lon, lat]).all():
        return None
    _, _, sides = geod.inv(lon[[0, 0]], lat[[0, 0]], lon[1:], lat[1:])
    return (float(sides[0]), float(sides[1])) if min(sides) > 0 else None
