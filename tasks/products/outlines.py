"""Outlines of connected areas along the edges of their pixels, without the seams of windows."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes

from tasks.answers.components import Numbered
from tasks.geometry.raster_grid import RasterGrid


def outlines(components: Numbered, grid: RasterGrid) -> NDArray[np.object_]:
    """Return a valid multipolygon per component, in their order, in the coordinates of the grid.

    Pieces are cut out window by window in whole pixels, where their union is exact, and vertices on straight lines
    are left out: the outline does not depend on the windows. Memory grows with the length of the outlines alone.

    Args:
        components: What to outline.
        grid: Of the raster; pixel coordinates are returned where it has no affine.
    """
    pieces: list[list[shapely.Polygon]] = [[] for _ in range(components.n)]
    for box, labels in components.windows():
        inside = labels > 0
        if not inside.any():
            continue
        corner = np.array(box.start[::-1], np.float64)
        for geometry, value in shapes(labels.astype(np.int32), mask=inside, connectivity=4):
            rings = [np.asarray(ring, np.float64) + corner for ring in geometry["coordinates"]]
            pieces[int(value) - 1].append(shapely.Polygon(rings[0], rings[1:]))
    found = np.empty(components.n, dtype=object)
    for number, parts in enumerate(pieces):
        found[number] = _placed(_united(parts), grid)
    return found


def _united(parts: list[shapely.Polygon]) -> shapely.MultiPolygon:
    union = shapely.normalize(shapely.union_all(parts))
    polygons = [
        shapely.Polygon(_straightened(part.exterior), [_straightened(ring) for ring in part.interiors])
        for part in shapely.get_parts(union).tolist()
    ]
    return shapely.normalize(shapely.MultiPolygon(polygons))


def _straightened(ring: shapely.LinearRing) -> NDArray[np.float64]:
    points = shapely.get_coordinates(ring)[:-1]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0] != 0
    kept: NDArray[np.float64] = points[turns]
    return kept


def _placed(geometry: shapely.MultiPolygon, grid: RasterGrid) -> shapely.MultiPolygon:
    def place(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(grid.pixel_to_world(points[:, 1], points[:, 0]))

    return shapely.transform(geometry, place)
