"""Polygons from their own CRS onto the pixels of a grid, and their true areas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer

from tasks.geometry.geodetic import Geodetic
from tasks.geometry.longitudes import cut, measured, near, step, turn_of
from tasks.geometry.raster_grid import RasterGrid

Floats = NDArray[np.float64]
Geometries = NDArray[Any]
# Long straight edges are bent when they change their CRS: points are added this many pixels apart.
_EDGE_PIXELS = 64.0


@dataclass(frozen=True)
class PlacedPolygons:
    """Polygons on a grid.

    Attributes:
        pixels: In pixel coordinates of the grid, x being columns and y rows, ``(polygons,)``; empty where they
            cannot be had in the grid's CRS.
        geographic: In longitude, from Greenwich, and latitude, degrees, of the CRS's own datum, cut at the
            antimeridian.
        areas_m2: Geodesic.
        perimeters_m: Geodesic.
    """

    pixels: Geometries
    geographic: Geometries
    areas_m2: Floats
    perimeters_m: Floats


def place_polygons(geometries: Geometries, crs_wkt: str, grid: RasterGrid) -> PlacedPolygons:
    """Lay polygons over a grid.

    Args:
        geometries: Polygons and multipolygons in ``crs_wkt``, unrolled, ``(polygons,)``.
        crs_wkt: Their CRS.
        grid: With a CRS.
    """
    own, target = CRS.from_wkt(crs_wkt).to_2d(), CRS.from_wkt(grid.crs_wkt or "").to_2d()
    earth = Geodetic(crs_wkt)
    if own == target:
        dense = on_grid = geometries
    else:
        dense = shapely.segmentize(geometries, _edge_length(geometries, own, target, grid))
        on_grid = _moved(dense, Transformer.from_crs(own, target, always_xy=True).transform)
    geographic = _moved(dense, earth.degrees)
    areas, perimeters = geodesic_measures(geographic, earth.geod)
    # What cannot be had in the map's CRS is nowhere on the map.
    pixels = _in_pixels(near(_reached(on_grid), grid.centre_x, grid.turn), grid)
    return PlacedPolygons(pixels, cut(geographic), areas, perimeters)


def _reached(geometries: Geometries) -> Geometries:
    """Return the polygons, empty where a point has no finite coordinates."""
    points, owners = shapely.get_coordinates(geometries, return_index=True)
    reached: Geometries = np.array(geometries, object)
    reached[np.unique(owners[~np.isfinite(points).all(axis=1)])] = shapely.Polygon()
    return reached


def geodesic_measures(geographic: Geometries, geod: Geod) -> tuple[Floats, Floats]:
    """Return area in m2 and perimeter in m of polygons in longitude and latitude (Karney 2013)."""
    found = [measured(geometry, geod) for geometry in geographic]
    return np.array([one.area_m2 for one in found]), np.array([one.outer_m for one in found])


def metres_per_pixel(grid: RasterGrid, rows: Floats, cols: Floats) -> Floats:
    """Return the matrices ``(points, 2, 2)`` that turn steps ``col, row`` into metres ``east, north``."""
    earth = Geodetic(grid.crs_wkt or "")
    columns = []
    for d_row, d_col in ((0.0, 0.5), (0.5, 0.0)):
        ends = [earth.degrees(*grid.pixel_to_world(rows + sign * d_row, cols + sign * d_col)) for sign in (-1, 1)]
        azimuth, _, length = earth.geod.inv(*ends[0], *ends[1])
        columns.append(np.stack([length * np.sin(np.radians(azimuth)), length * np.cos(np.radians(azimuth))], axis=-1))
    return np.stack(columns, axis=-1)


def shrunk(pixels: Geometries, grid: RasterGrid, by_m: float) -> Geometries:
    """Return polygons without their outer ``by_m`` metres, in pixel coordinates like the polygons.

    Distances are metres on the ground at each polygon's centre. What is empty, and what lies where the grid's CRS has
    no metres, is empty.
    """
    result = np.full(len(pixels), shapely.Polygon(), object)
    placed = np.flatnonzero(~shapely.is_empty(pixels))
    centres = shapely.get_coordinates(shapely.centroid(pixels[placed]))
    matrices = metres_per_pixel(grid, centres[:, 1], centres[:, 0])
    for number, matrix, centre in zip(placed, matrices, centres, strict=True):
        if not np.isfinite(matrix).all() or np.linalg.det(matrix) == 0.0:
            continue
        inner = shapely.buffer(_linear(pixels[number], matrix, -matrix @ centre), -by_m)
        result[number] = _linear(inner, np.linalg.inv(matrix), centre)
    return result


def _linear(geometry: Any, matrix: Floats, shift: Floats) -> Any:  # noqa: ANN401 - shapely's geometries have no types
    def move(points: Floats) -> Floats:
        moved: Floats = points @ matrix.T + shift
        return moved

    return shapely.transform(geometry, move)


def _edge_length(geometries: Geometries, own: CRS, target: CRS, grid: RasterGrid) -> float:
    """Return ``_EDGE_PIXELS`` pixels in units of the polygons' CRS, as the grid's frame tells."""
    corners = np.array([[0.0, 0.0], [grid.rows, grid.cols]])
    x, y = Transformer.from_crs(target, own, always_xy=True).transform(
        *grid.pixel_to_world(corners[:, 0], corners[:, 1])
    )
    turn = turn_of(own.to_wkt())
    across = x[1] - x[0] if turn is None else step(x[0], x[1], turn)
    length = float(np.hypot(across, y[1] - y[0])) / float(np.hypot(grid.rows, grid.cols))
    west, south, east, north = shapely.total_bounds(geometries)
    fallback = max(east - west, north - south, 1e-9)
    return length * _EDGE_PIXELS if np.isfinite(length) and length > 0 else fallback


def _moved(geometries: Geometries, carry: Callable[..., Any]) -> Geometries:
    def move(points: Floats) -> Floats:
        return np.stack(carry(points[:, 0], points[:, 1]), axis=-1)

    moved: Geometries = shapely.transform(geometries, move)
    return moved


def _in_pixels(geometries: Geometries, grid: RasterGrid) -> Geometries:
    def move(points: Floats) -> Floats:
        rows, cols = grid.plane_to_pixel(points[:, 0], points[:, 1])
        return np.stack([cols, rows], axis=-1)

    moved: Geometries = shapely.transform(geometries, move)
    return moved
