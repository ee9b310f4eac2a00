"""Where the files of a scene lie on the grid of the finest of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.crs import CRS

from tasks.errors import UnsupportedSceneError
from tasks.geometry.geodetic import pixel_sides_m
from tasks.geometry.raster_grid import RasterGrid
from tasks.scenes.raster.header import Header

# Two grids that meet in less than a hundredth of either's sides may be taken for apart.
_LATTICE = 101
# A grid that ends so close to a pixel's edge ends there.
_ALMOST = 0.01


@dataclass(frozen=True, kw_only=True)
class RasterFile:
    """One file of a scene.

    Attributes:
        role: Its role under ``source.files``; '' where a scene is one file.
        aligned: Whether it lies on the scene's grid and is read without interpolation.
        grid: Its own grid.
        alpha_is_band: Whether what the file calls alpha is read as a band, and says nothing of other bands.
    """

    role: str
    path: str
    aligned: bool
    grid: RasterGrid
    alpha_is_band: bool = False


def finest(headers: list[Header]) -> Header:
    """Return the header of the smallest pixels on the ground, the first where several are as fine.

    What says no CRS says nothing of the ground, and is taken where nothing else is there.
    """
    return min(headers, key=lambda header: (header.grid.crs_wkt is None, round(_pixel_metres(header.grid), 6)))


def _pixel_metres(grid: RasterGrid) -> float:
    """Return the side of a square as large as the middle pixel on the ground; in units of the CRS off the Earth."""
    sides = None if grid.ground_control else pixel_sides_m(grid)
    return float(np.sqrt(grid.pixel_area if sides is None else sides[0] * sides[1]))


def reaching(grid: RasterGrid, others: Sequence[RasterGrid]) -> RasterGrid:
    """Return a grid that holds other grids, too: the same pixels, and more of them at its sides.

    What cannot be laid over it is left out; it is refused where it is placed.
    """
    first, last = np.zeros(2), np.array(grid.shape, np.float64)
    for other in others:
        if other.ground_control or grid.ground_control or grid.pixel_area == 0.0:
            continue
        points = np.array(_carried(other, grid))
        points = points[:, np.isfinite(points).all(axis=0)]
        if points.size:
            first, last = np.minimum(first, points.min(axis=1)), np.maximum(last, points.max(axis=1))
    top, left = (int(n) for n in np.floor(first + _ALMOST))
    bottom, right = (int(n) for n in np.ceil(last - _ALMOST))
    a, b, c, d, e, f = grid.affine
    corner = (a, b, a * left + b * top + c, d, e, d * left + e * top + f)
    return replace(grid, rows=bottom - top, cols=right - left, affine=corner)


def place(scene_id: str, role: str, header: Header, grid: RasterGrid) -> RasterFile:
    """Place a file on the scene's grid.

    Raises:
        UnsupportedSceneError: When it cannot be placed there, or shares no ground with it.
    """
    aligned = header.grid.lies_on(grid) and _same_crs(header.grid, grid)
    if not aligned:
        if (header.grid.crs_wkt is None) != (grid.crs_wkt is None):
            without = header.path if header.grid.crs_wkt is None else "the finest file of the scene"
            with_crs = "the finest file of the scene" if header.grid.crs_wkt is None else header.path
            raise UnsupportedSceneError(
                f"{scene_id}: {without} has no CRS, and {with_crs} has one, so nothing says how they lie to each "
                "other. Give it the one that it is in (gdal_edit.py -a_srs EPSG:32632 FILE)"
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
    return RasterFile(role=role, path=header.path, aligned=aligned, grid=header.grid)


def _same_crs(one: RasterGrid, other: RasterGrid) -> bool:
    if one.crs_wkt is None or other.crs_wkt is None or one.crs_wkt == other.crs_wkt:
        return one.crs_wkt == other.crs_wkt
    return bool(CRS.from_wkt(one.crs_wkt) == CRS.from_wkt(other.crs_wkt))


def _meet(one: RasterGrid, other: RasterGrid) -> bool:
    """Tell whether a lattice of points of either grid has one inside the other."""
    return _reaches(one, other) or _reaches(other, one)


def _reaches(one: RasterGrid, other: RasterGrid) -> bool:
    rows, cols = _carried(one, other)
    return bool(((rows > 0) & (rows < other.rows) & (cols > 0) & (cols < other.cols)).any())


def _carried(one: RasterGrid, other: RasterGrid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a lattice over one grid in pixels of another, ``rows, cols``; not finite where it cannot be had there."""
    sides = (np.linspace(0, n, _LATTICE) for n in one.shape)
    rows, cols = (axis.ravel() for axis in np.meshgrid(*sides, indexing="ij"))
    x, y = one.pixel_to_world(rows, cols)
    if one.crs_wkt is not None and other.crs_wkt is not None and not _same_crs(one, other):
        # To infinity where a point cannot be had in the other CRS.
        x, y = Transformer.from_crs(one.crs_wkt, other.crs_wkt, always_xy=True).transform(x, y)
    with np.errstate(invalid="ignore"):
        return other.world_to_pixel(np.asarray(x), np.asarray(y))
