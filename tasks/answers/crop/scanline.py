"""Which pixels lie in a polygon: by their centres, each pixel in one of two polygons that share an edge."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from tasks.geometry.box import Box

Floats = NDArray[np.float64]


def edges_of(geometry: Any) -> Floats:  # noqa: ANN401 - shapely's geometries have no common type that mypy knows
    """Return the edges of a polygon's rings, ``(edges, 4)`` as ``row, col, row, col``, upper end first.

    Args:
        geometry: A polygon or multipolygon in pixel coordinates, x being columns and y rows.
    """
    pieces = []
    for ring in shapely.get_rings(shapely.get_parts(geometry)):
        points = shapely.get_coordinates(ring)[:, ::-1]
        pieces.append(np.hstack([points[:-1], points[1:]]))
    edges = np.concatenate(pieces) if pieces else np.empty((0, 4))
    # One direction for all, so that two polygons compute the same crossing from an edge that they share.
    turned = edges[:, 0] > edges[:, 2]
    edges[turned] = edges[turned][:, [2, 3, 0, 1]]
    return edges[edges[:, 0] < edges[:, 2]]


def inside(edges: Floats, box: Box) -> NDArray[np.bool_]:
    """Return ``(rows, cols)`` of a window: whether each pixel's centre is inside, by the even-odd rule.

    A centre on an edge belongs to the polygon to its right or below, so a set of polygons that tile the plane answers
    for every pixel once.

    Args:
        edges: As ``edges_of`` returns them.
        box: The window in the pixels of the grid.
    """
    rows, cols = box.shape
    first = np.clip(np.ceil(edges[:, 0] - 0.5), box.start[0], box.stop[0]).astype(np.int64)
    last = np.clip(np.ceil(edges[:, 2] - 0.5), box.start[0], box.stop[0]).astype(np.int64)
    lengths = last - first
    which = np.repeat(np.arange(len(edges)), lengths)
    row = np.arange(len(which)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + first[which]
    top, left, bottom, right = edges[which].T
    crossing = left + (row + 0.5 - top) * ((right - left) / (bottom - top))
    col = np.clip(np.ceil(crossing - 0.5), box.start[1], box.stop[1]).astype(np.int64)
    flat = (row - box.start[0]) * (cols + 1) + col - box.start[1]
    toggles = np.bincount(flat, minlength=rows * (cols + 1)).reshape(rows, cols + 1) & 1
    parity = np.bitwise_xor.accumulate(toggles.astype(np.uint8), axis=1)
    found: NDArray[np.bool_] = parity[:, :cols].astype(np.bool_)
    return found
