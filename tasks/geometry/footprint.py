"""The ground that a raster covers."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely

from tasks.geometry.geodetic import Geodetic, pixel_sides_m
from tasks.geometry.longitudes import cut
from tasks.geometry.raster_grid import RasterGrid

_SIDE_POINTS = 8
# Of a degree: a centimetre.
DIGITS = 7


def footprint(grid: RasterGrid, inset_px: float = 0.0) -> Any:  # noqa: ANN401 - shapely's shapes
    """Return a raster's outline in longitude and latitude, cut at the antimeridian; None off the Earth.

    Args:
        grid: Where its pixels lie.
        inset_px: What is left out at each side, at most half of what there is.
    """
    if grid.crs_wkt is None or grid.ground_control is not None or pixel_sides_m(grid) is None:
        return None
    along = np.linspace(0.0, 1.0, _SIDE_POINTS, endpoint=False)
    down, across = (min(inset_px, 0.49 * n) for n in grid.shape)
    rows = down + (grid.rows - 2 * down) * np.concatenate([0 * along, along, 0 * along + 1, 1 - along])
    cols = across + (grid.cols - 2 * across) * np.concatenate([along, 0 * along + 1, 1 - along, 0 * along])
    points = np.column_stack(Geodetic(grid.crs_wkt).degrees(*grid.pixel_to_world(rows, cols)))
    if not np.isfinite(points).all():
        return None
    outline = shapely.Polygon(np.round(points, DIGITS))
    return shapely.orient_polygons(cut(np.array([outline], object))[0])
