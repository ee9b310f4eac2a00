"""The outermost points of a lesion, and the longest distances between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from tasks.answers.tumour.components import Part

Floats = NDArray[np.float64]
Integers = NDArray[np.int32]
_IN_PLANE = np.zeros((3, 3, 3), np.bool_)
_IN_PLANE[1] = True
# Pairs that are compared in one go.
_PAIRS = 1 << 17
# So few points are compared faster than their corners are found.
_FEW = 64
# Lengths that differ by less are one length; which of them is drawn must not hang on the last bit.
_SAME = 1e-9


@dataclass(frozen=True, eq=False)
class Outline:
    """Vertices of a lesion's mesh, the middles between a voxel of the lesion and a neighbour outside, and voxels.

    Only those are kept that no two others of the same line lie round: they span every longest distance.

    Attributes:
        along_cols: First and last vertex of each line along cols, ``(n, 3)``, in half voxels of the lesion's box.
        along_rows: The same along rows.
        voxels: First and last voxel of each line along cols, in voxels.
        axes_mm: 3 x 3, steps along depth, rows, cols.
    """

    along_cols: Integers
    along_rows: Integers
    voxels: Integers
    axes_mm: Floats


@dataclass(frozen=True)
class Longest:
    """The longest distance between two points.

    Attributes:
        length_mm: Between them.
        start: Depth, row, col in voxels of the box; voxel centres are whole.
        stop: See ``start``.
    """

    length_mm: float
    start: tuple[float, ...]
    stop: tuple[float, ...]


def outline(part: Part) -> Outline:
    """Find a lesion's outer vertices, slab by slab."""
    found: dict[int, list[Integers]] = {1: [], 2: []}
    voxels: list[Integers] = []
    for start, stop in part.slabs():
        first = start - 1 if start == 0 else start
        planes = part.planes(first, stop + 1)
        own = planes[start - first : -1]
        crossings = (
            (planes[1:] != planes[:-1], (2 * first + 1, -2, -2)),
            (own[:, 1:] != own[:, :-1], (2 * start, -1, -2)),
            (own[:, :, 1:] != own[:, :, :-1], (2 * start, -2, -1)),
        )
        for crossing, offset in crossings:
            for axis in (1, 2):
                found[axis].append(_ends(crossing, axis) * 2 + np.array(offset, np.int32))
        voxels.append(_ends(own, 2) + np.array((start, -1, -1), np.int32))
    along_cols, along_rows, ends = (np.concatenate(points) for points in (found[2], found[1], voxels))
    return Outline(along_cols, along_rows, ends, part.axes_mm)


def longest(found: Outline) -> Longest:
    """Return the longest distance between any two vertices (PyRadiomics: Maximum3DDiameter)."""
    points = found.along_cols[ConvexHull(found.along_cols @ (found.axes_mm.T / 2.0)).vertices]
    return _longest_of(points[np.lexsort(points.T[::-1])], 2, found.axes_mm)


def longest_in_planes(found: Outline, axis: int) -> Longest:
    """Return the longest distance between two vertices of one plane, planes between voxels included.

    PyRadiomics: Maximum2DDiameterSlice (axis 0), Column (1) and Row (2).

    Args:
        found: Of the lesion.
        axis: The planes lie across it.
    """
    points = found.along_rows if axis == 2 else found.along_cols
    return _longest_planar(points, points[:, axis], axis=axis, per_voxel=2, axes_mm=found.axes_mm)


def longest_in_slices(part: Part) -> Longest:
    """Return the longest distance in one connected piece of one slice across the first axis, the first of equals.

    Lines end a quarter of a voxel beyond the centres of the lesion's outermost voxels. Between centres a smooth
    body measures half a voxel too short in the mean, between the middles to the voxels outside almost half a
    voxel too long, because the longest of many lines is a lucky one; docs/tumour.md has the figures.
    """
    beyond = np.array(((0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)), np.int32)
    best = Longest(0.0, (), ())
    for start, stop in part.slabs():
        planes = part.planes(start, stop)
        numbers = numbered_pieces(planes)
        places = _run_ends(planes)
        voxels = np.stack(places, axis=1).astype(np.int32) + np.array((start, -1, -1), np.int32)
        points = (4 * voxels[:, None] + beyond).reshape(-1, 3)
        found = _longest_planar(
            points, np.repeat(numbers[places], len(beyond)), axis=0, per_voxel=4, axes_mm=part.axes_mm
        )
        if found.length_mm > best.length_mm * (1 + _SAME):
            best = found
    return best


def numbered_pieces(planes: NDArray[np.bool_]) -> Integers:
    """Number the connected pieces of planes, each plane by itself; voxels that share a corner are connected."""
    numbers = np.zeros(planes.shape, np.int32)
    ndimage.label(planes, _IN_PLANE, output=numbers)
    return numbers


def _longest_planar(points: Integers, owner: Integers, axis: int, per_voxel: int, axes_mm: Floats) -> Longest:
    """Return the longest distance between points of one owner, all of whose points lie in one plane across ``axis``."""
    others = [other for other in range(3) if other != axis]
    order = np.lexsort((points[:, others[1]], points[:, others[0]], owner))
    points, owner = points[order], owner[order]
    starts = np.flatnonzero(np.r_[True, np.diff(owner) != 0])
    stops = np.r_[starts[1:], len(points)]
    sides = np.maximum.reduceat(points, starts, axis=0) - np.minimum.reduceat(points, starts, axis=0)
    # No distance is longer than the diagonals of the plane's box; all but a few planes are never looked at.
    bounds = _reach(sides / per_voxel, axes_mm)
    best, place = Longest(0.0, (), ()), -1
    for index in np.argsort(-bounds, kind="stable").tolist():
        if bounds[index] < best.length_mm * (1 - _SAME):
            break
        candidate = _longest_of(_corners(points[starts[index] : stops[index]], others), per_voxel, axes_mm)
        is_same = abs(candidate.length_mm - best.length_mm) <= _SAME * best.length_mm
        if (is_same and index < place) or (not is_same and candidate.length_mm > best.length_mm):
            best, place = candidate, index
    return best


def _corners(points: Integers, axes: list[int]) -> Integers:
    """Return the corners of the points of a plane: the ends of its longest distance are among them."""
    if len(points) <= _FEW:
        return points
    try:
        return points[np.sort(ConvexHull(points[:, axes]).vertices)]
    except QhullError:
        # All on one line.
        return points


def _ends(crossing: NDArray[np.bool_], axis: int) -> Integers:
    """Return the first and last marked element of each line along an axis, ``(n, 3)``."""
    lines = np.nonzero(crossing.any(axis=axis))
    length = crossing.shape[axis]
    along = np.moveaxis(crossing, axis, -1)[lines]
    ends = (along.argmax(axis=-1), length - 1 - along[:, ::-1].argmax(axis=-1))
    both = [np.insert(np.stack(lines, axis=1), axis, end, axis=1) for end in ends]
    return np.concatenate(both).astype(np.int32)


def _run_ends(planes: NDArray[np.bool_]) -> tuple[NDArray[np.int64], ...]:
    """Return where runs along cols begin, and where they end, in padded planes."""
    depth, rows, cols = np.nonzero(planes[:, :, 1:] & ~planes[:, :, :-1])
    ends = np.nonzero(planes[:, :, :-1] & ~planes[:, :, 1:])
    return tuple(np.concatenate(pair) for pair in zip((depth, rows, cols + 1), ends, strict=True))


def _reach(sides: Floats, axes_mm: Floats) -> Floats:
    """Return the longest diagonal of boxes with sides in voxels; axes need not be square to each other."""
    signs = np.array([(1, a, b) for a in (1, -1) for b in (1, -1)])
    diagonals = (sides[:, None, :] * signs) @ axes_mm.T
    return np.asarray(np.linalg.norm(diagonals, axis=-1).max(axis=1))


def _longest_of(points: Integers, per_voxel: int, axes_mm: Floats) -> Longest:
    places = points @ (axes_mm.T / per_voxel)
    n = len(points)
    best, pair = -1.0, (0, 0)
    step = max(1, _PAIRS // n)
    for start in range(0, n, step):
        ahead = np.linalg.norm(places[start : start + step, None] - places[None], axis=-1)
        length = float(ahead.max())
        if length > best * (1 + _SAME):
            near = np.flatnonzero(ahead >= length * (1 - _SAME))[0]
            best, pair = length, (start + int(near) // n, int(near) % n)
    start_at, stop_at = (tuple((points[index] / per_voxel).tolist()) for index in pair)
    return Longest(best, start_at, stop_at)
