"""Shape, position and size of the structures of a two-dimensional mask."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from scipy.spatial import ConvexHull

from tasks.answers.metrics.surface_area import corners, element_sizes

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Structure:
    """A connected part of a class; lengths in the unit of the spacing that it was measured with.

    Attributes:
        id: From 1, class by class, the largest part of each first.
        label: Its class.
        n_pixels: Pixels.
        area: Of these.
        perimeter: Of its contour, holes included: marching squares, with vertices half way between pixels.
        centre: Mean row and column of its pixels, the middle of the first pixel being 0, 0.
        start: First row and column.
        stop: Row and column behind the last.
        height: From its upper to its lower edge.
        width: From its left to its right edge.
        longest: Largest distance of two of its corners (Feret's diameter).
        narrowest: Smallest distance of two parallels that hold it.
        major_axis: Of the ellipse with its second moments.
        minor_axis: Likewise.
        direction_degrees: Of the major axis, from the row's direction upwards, above -90 to 90.
        solidity: Share of its convex hull that it fills.
        circularity: 4 pi area / perimeter squared.
        touches_edge: Whether it reaches the edge of the picture, or what was not observed.
    """

    id: int
    label: int
    n_pixels: int
    area: float
    perimeter: float
    centre: tuple[float, float]
    start: tuple[int, int]
    stop: tuple[int, int]
    height: float
    width: float
    longest: float
    narrowest: float
    major_axis: float
    minor_axis: float
    direction_degrees: float
    solidity: float
    circularity: float
    touches_edge: bool


@dataclass(frozen=True)
class Structures:
    """What a mask holds.

    Attributes:
        measured: By class, and by size in each.
        n_small: Parts that were too small to be measured, by class.
        pixels: Of every class, in order.
    """

    measured: tuple[Structure, ...]
    n_small: dict[int, int]
    pixels: tuple[int, ...]


def find_structures(
    labels: NDArray[np.unsignedinteger[Any]],
    n_classes: int,
    spacing: tuple[float, float],
    connectivity: int = 8,
    smallest_pixels: int = 1,
) -> Structures:
    """Measure every connected part of every class but the first.

    Args:
        labels: Class numbers ``(rows, cols)``; anything from ``n_classes`` on was not observed.
        n_classes: Classes, background included.
        spacing: From one row, and from one column, to the next, in any unit.
        connectivity: 4 or 8.
        smallest_pixels: Parts with fewer pixels are counted alone.
    """
    unseen = labels >= n_classes
    seen = np.where(unseen, 0, labels)
    parts = cc3d.connected_components(seen, connectivity=4 if connectivity == 4 else 8)
    found, n_small = [], dict.fromkeys(range(1, n_classes), 0)
    for number, place in enumerate(find_objects(parts), start=1):
        mask = parts[place] == number
        label = int(seen[place][mask][0])
        if int(mask.sum()) < smallest_pixels:
            n_small[label] += 1
            continue
        start = place[0].start, place[1].start
        found.append((label, _measure(mask, start, spacing), _touches(mask, start, unseen)))
    found.sort(key=lambda one: (one[0], -one[1]["n_pixels"], one[1]["start"]))
    measured = tuple(
        Structure(id=number, label=label, touches_edge=touches, **numbers)
        for number, (label, numbers, touches) in enumerate(found, start=1)
    )
    counts = np.bincount(seen.ravel(), minlength=n_classes)
    counts[0] -= int(unseen.sum())
    return Structures(measured, n_small, tuple(counts.tolist()))


def _measure(mask: NDArray[np.bool_], start: tuple[int, int], spacing: tuple[float, float]) -> dict[str, Any]:
    steps = np.array(spacing)
    n_pixels = int(mask.sum())
    area = n_pixels * float(steps.prod())
    perimeter = _perimeter(mask, spacing)
    places = np.argwhere(mask).astype(np.float64)
    centre = places.mean(axis=0)
    major, minor, direction = _ellipse((places - centre) * steps, steps)
    longest, narrowest, hull_area = _hull(mask, steps)
    height, width = (length * step for length, step in zip(mask.shape, spacing, strict=True))
    return {
        "n_pixels": n_pixels,
        "area": area,
        "perimeter": perimeter,
        "centre": (start[0] + float(centre[0]), start[1] + float(centre[1])),
        "start": start,
        "stop": (start[0] + mask.shape[0], start[1] + mask.shape[1]),
        "height": height,
        "width": width,
        "longest": longest,
        "narrowest": narrowest,
        "major_axis": major,
        "minor_axis": minor,
        "direction_degrees": direction,
        "solidity": min(1.0, area / hull_area),
        "circularity": 4 * math.pi * area / perimeter**2,
    }


def _perimeter(mask: NDArray[np.bool_], spacing: tuple[float, float]) -> float:
    padded = np.pad(mask, 1)
    rows, cols = padded.shape
    codes = np.zeros((rows - 1, cols - 1), np.uint8)
    for bit, (down, right) in enumerate(corners(2)):
        codes |= padded[down : rows - 1 + down, right : cols - 1 + right].astype(np.uint8) << bit
    return float(element_sizes(spacing)[codes].sum())


def _ellipse(offsets: Floats, steps: Floats) -> tuple[float, float, float]:
    """Return both axes of the ellipse with the second moments of the pixels, which have an extent of their own."""
    moments = offsets.T @ offsets / len(offsets) + np.diag(steps**2) / 12
    values, vectors = np.linalg.eigh(moments)
    down, right = vectors[:, 1]
    # An axis has no beginning: half a turn makes no difference.
    direction = math.degrees(math.remainder(math.atan2(-down, right), math.pi))
    direction = -direction if direction <= -90 else direction
    # Plus nothing, or a row's direction would be -0.
    return 4 * math.sqrt(values[1]), 4 * math.sqrt(values[0]), direction + 0.0


def _hull(mask: NDArray[np.bool_], steps: Floats) -> tuple[float, float, float]:
    """Return the largest and the smallest diameter of the hull of all corners of pixels, and its area."""
    rows = np.flatnonzero(mask.any(axis=1))
    first, last = mask[rows].argmax(axis=1), mask.shape[1] - mask[rows, ::-1].argmax(axis=1)
    ends = [(rows, first), (rows + 1, first), (rows, last), (rows + 1, last)]
    points = np.concatenate([np.stack(end, axis=1) for end in ends]).astype(np.float64) * steps
    hull = ConvexHull(points)
    vertices = points[hull.vertices]
    longest = max(float(np.hypot(*(vertices - vertex).T).max()) for vertex in vertices)
    sides = np.roll(vertices, -1, axis=0) - vertices
    normals = np.stack([-sides[:, 1], sides[:, 0]], axis=1) / np.hypot(*sides.T)[:, np.newaxis]
    narrowest = min(float(np.ptp(vertices @ normal)) for normal in normals)
    return longest, narrowest, float(hull.volume)


def _touches(mask: NDArray[np.bool_], start: tuple[int, int], unseen: NDArray[np.bool_]) -> bool:
    (top, left), (rows, cols) = start, unseen.shape
    bottom, right = top + mask.shape[0], left + mask.shape[1]
    if top == 0 or left == 0 or bottom == rows or right == cols:
        return True
    around = unseen[top - 1 : bottom + 1, left - 1 : right + 1]
    grown = np.pad(mask, 1)
    near = grown.copy()
    for axis in (0, 1):
        near |= np.roll(near, 1, axis) | np.roll(near, -1, axis)
    return bool((around & near).any())
