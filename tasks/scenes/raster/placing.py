"""Where the files of a scene lie on the grid of the finest of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.crs import CRS

from tasks.errors import UnsupportedSceneError
from tasks.geometry.raster_grid import RasterGrid
from tasks.scenes.raster.header import Header

_METRES_PER_DEGREE = 111_320.0
# Two grids that meet in less than a hundredth of either's sides may be taken for apart.
_LATTICE = 101


@dataclass(frozen=True)
class RasterFile:
    """One file of a scene.

    Attributes:
        role: Its role under ``source.files``; '' where a scene is one file.
        aligned: Whether it lies on the scene's grid and is read without interpolation.
        grid: Its own grid.
    """

    role: str
    path: str
    aligned: bool
    grid: RasterGrid


def finest(headers: list[Header]) -> Header:
    """Return the header of the smallest pixels on the ground, the first where several are as fine."""
    return min(headers, key=lambda header: round(_pixel_metres(header.grid), 6))


def _pixel_metres(grid: RasterGrid) -> float:
    side = float(np.sqrt(grid.pixel_area))
    crs = CRS.from_wkt(grid.crs_wkt) if grid.crs_wkt else None
    if crs is None:
        return side
    return side * (_METRES_PER_DEGREE if crs.is_geographic else crs.linear_units_factor[1])


def place(scene_id: str, role: str, header: Header, grid: RasterGrid) -> RasterFile:
    """Place a file on the scene's grid.

    Raises:
        UnsupportedSceneError: When it cannot be placed there, or shares no ground with it.
    """
    aligned = header.grid.lies_on(grid) and _same_crs(header.grid, grid)
    if not aligned:
        if (header.grid.crs_wkt is None) != (grid.crs_wkt is None):
            raise UnsupportedSceneError(
                f"{scene_id}: {header.path} and the finest file of the scene differ in shape, and only one of "
                "them has a CRS. Give both a CRS, or the same pixels"
            )
        if header.grid.ground_control or grid.ground_control or header.grid.pixel_area == 0.0:
            raise UnsupportedSceneError(
                f"{scene_id}: {header.path} has no affine that places it on the scene's grid. Warp it first "
                "(gdalwarp -tps)"
            )
        if not _meet(header.grid, grid):
            raise UnsupportedSceneError(
                f"{scene_id}: {header.path} shares no ground with the finest file of the scene. Put files of one place "
                "together"
            )
    return RasterFile(role, header.path, aligned, header.grid)


def _same_crs(one: RasterGrid, other: RasterGrid) -> bool:
    if one.crs_wkt is None or other.crs_wkt is None or one.crs_wkt == other.crs_wkt:
        return one.crs_wkt == other.crs_wkt
    return bool(CRS.from_wkt(one.crs_wkt) == CRS.from_wkt(other.crs_wkt))


def _meet(one: RasterGrid, other: RasterGrid) -> bool:
    """Tell whether a lattice of points of either grid has one inside the other."""
    return _reaches(one, other) or _reaches(other, one)


def _reaches(one: RasterGrid, other: RasterGrid) -> bool:
    sides = (np.linspace(0, n, _LATTICE) for n in one.shape)
    rows, cols = (axis.ravel() for axis in np.meshgrid(*sides, indexing="ij"))
    x, y = one.pixel_to_world(rows, cols)
    if one.crs_wkt is not None and other.crs_wkt is not None and not _same_crs(one, other):
        # To infinity where a point cannot be had in the other CRS.
        x, y = Transformer.from_crs(one.crs_wkt, other.crs_wkt, always_xy=True).transform(x, y)
    inside: NDArray[np.bool_] = np.isfinite(x) & np.isfinite(y)
    rows, cols = other.world_to_pixel(x[inside], y[inside])
    return bool(((rows > 0) & (rows < other.rows) & (cols > 0) & (cols < other.cols)).any())
