"""Sizes of surface elements: how much contour or surface lies in a 2 x 2 or 2 x 2 x 2 neighbourhood of pixels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from skimage.measure import marching_cubes

from tasks.answers.metrics.pair import Steps, step_vectors

Corner: TypeAlias = tuple[int, ...]
Normal: TypeAlias = tuple[float, float, float]


def corners(n_axes: int) -> list[Corner]:
    """Return the pixels of a neighbourhood in the order of the bits of its code, bit 0 first.

    Bit 0 is the pixel with the largest index along all axes: the kernels of surface-distance.
    """
    return list(product((1, 0), repeat=n_axes))


@cache
def element_sizes(spacing: Steps) -> NDArray[np.float64]:
    """Return the contour length, or surface area, of every neighbourhood code.

    The elements are those of marching squares and marching cubes with vertices half way along the edges, in which
    pixels that touch at a corner or an edge alone stay apart: the definition of surface-distance (Nikolov et al.
    2021, JMIR 23(7):e26151), whose tables these are, derived here from the shapes.

    Args:
        spacing: Size of a pixel along its 2 or 3 axes; steps as vectors where those are not square to each other.

    Returns:
        Float64 ``(16,)`` in the unit of ``spacing``, or ``(256,)`` in its square; read only.
    """
    n_axes = len(spacing)
    order = corners(n_axes)
    sizes = np.zeros(1 << (1 << n_axes))
    for code in range(sizes.size):
        inside = {corner for bit, corner in enumerate(order) if code >> bit & 1}
        few = inside if 2 * len(inside) <= len(order) else set(order) - inside
        measure = _length if n_axes == 2 else _area
        sizes[code] = sum(measure(part, spacing) for part in _parts(few))
    sizes.flags.writeable = False
    return sizes


def _parts(pixels: set[Corner]) -> Iterator[set[Corner]]:
    """Yield the parts that are joined through faces."""
    left = set(pixels)
    while left:
        part, fresh = set(), [left.pop()]
        while fresh:
            corner = fresh.pop()
            part.add(corner)
            joined = {other for other in left if _axes_between(corner, other) == 1}
            left -= joined
            fresh.extend(joined)
        yield part


def _axes_between(one: Corner, other: Corner) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def _length(part: set[Corner], spacing: Steps) -> float:
    rows, cols = step_vectors(spacing)
    if len(part) == 1:
        (row, col), *_ = part
        # The line from the middle of one side of the corner to that of the other.
        return float(np.linalg.norm(rows * (2 * row - 1) - cols * (2 * col - 1))) / 2.0
    (along,) = _varying(part)
    return float(np.linalg.norm((rows, cols)[along]))


def _area(part: set[Corner], spacing: Steps) -> float:
    vectors = step_vectors(spacing)
    if np.count_nonzero(vectors - np.diag(np.diag(vectors))):
        return _sheared_area(part, vectors)
    depth, rows, cols = np.diag(vectors)
    faces = np.array([rows * cols, depth * cols, depth * rows])
    return float(np.linalg.norm(np.array(_normals(part)) * faces, axis=1).sum())


def _sheared_area(part: set[Corner], vectors: NDArray[np.float64]) -> float:
    """Return the area of marching cubes' triangles round a part: their normals have signs, which count here."""
    cube = np.zeros((2, 2, 2), np.float32)
    for corner in part:
        cube[corner] = 1
    places, faces, _, _ = marching_cubes(cube, 0.5, method="lorensen")  # type: ignore[no-untyped-call]
    a, b, c = ((places @ vectors)[faces[:, k]] for k in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()) / 2.0


def _normals(part: set[Corner]) -> list[Normal]:
    """Return the triangles' normals, signs aside, in a neighbourhood of unit size; their lengths are areas."""
    varying = _varying(part)
    if len(part) == 1:
        return [_slanted(0.125)]
    if len(part) == 2:
        return [_facing(0.5, [axis for axis in range(3) if axis not in varying])]
    if len(part) == 3:
        return [_facing(0.5, [axis for axis in range(3) if axis not in varying]), _slanted(0.375)]
    if len(varying) == 2:
        return [_facing(1.0, [axis for axis in range(3) if axis not in varying])]
    ends = [axis for axis in range(3) if _steps_from_ends(part, axis)]
    if len(ends) == 3:
        return [_slanted(0.75)]
    return [_slanted(0.5), *(_facing(0.25, [axis for axis in range(3) if axis != end]) for end in ends)]


def _varying(part: set[Corner]) -> list[int]:
    return [axis for axis, values in enumerate(zip(*part, strict=True)) if len(set(values)) == 2]


def _steps_from_ends(part: set[Corner], axis: int) -> bool:
    """Tell whether a pixel with one neighbour in the part has it along ``axis``."""
    neighbours = {a: [b for b in part if _axes_between(a, b) == 1] for a in part}
    return any(len(near) == 1 and near[0][axis] != pixel[axis] for pixel, near in neighbours.items())


def _slanted(size: float) -> Normal:
    return size, size, size


def _facing(size: float, axes: list[int]) -> Normal:
    first, second, third = (size if axis in axes else 0.0 for axis in range(3))
    return first, second, third
