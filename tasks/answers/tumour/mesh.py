"""The surface of a lesion as a mesh of marching cubes, with the conventions of PyRadiomics."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from skimage.measure import marching_cubes

from tasks.answers.tumour.components import Part

Floats = NDArray[np.float64]
# Corners of a cube in the order of the bits of its case, depth first (Lorensen & Cline 1987; Bourke 1994).
_CORNERS = ((0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0), (1, 0, 0), (1, 0, 1), (1, 1, 1), (1, 1, 0))
_CASES = 256


@dataclass(frozen=True)
class MeshSize:
    """What the mesh round a lesion encloses and covers.

    Attributes:
        volume_mm3: Enclosed.
        surface_mm2: Its area.
    """

    volume_mm3: float
    surface_mm2: float


@cache
def triangles() -> tuple[Floats, ...]:
    """Return the triangles of every case of a cube, ``(n, 3 corners, 3)``, in voxels from the cube's first corner.

    Vertices lie in the middle of edges. The classic table of 256 cases is scikit-image's; as in PyRadiomics
    (radiomics/src/cshape.c) a case that holds the last corner is its complement's, turned inside out, whether
    or not its neighbours then meet: on faces with two opposite corners inside, the mesh may have holes.
    """
    table = [np.zeros((0, 3, 3))]
    for case in range(1, _CASES - 1):
        has_last = case >= _CASES // 2
        cube = np.zeros((2, 2, 2), np.float32)
        for bit, corner in enumerate(_CORNERS):
            cube[corner] = (case ^ (_CASES - 1) if has_last else case) >> bit & 1
        places, faces, _, _ = marching_cubes(cube, 0.5, gradient_direction="ascent", method="lorensen")
        found = places[faces].astype(np.float64)
        table.append(found[:, ::-1] if has_last else found)
    return (*table, np.zeros((0, 3, 3)))


def mesh_size(part: Part) -> MeshSize:
    """Return volume and area of the mesh round a lesion.

    The volume is the sum of ``a . (b x c) / 6`` over all triangles, from the corner of the lesion's box with one
    empty voxel round it (PyRadiomics: MeshVolume); the area that of ``|ab x ac| / 2`` (SurfaceArea).
    """
    counts, origins = _cases(part)
    used = np.flatnonzero(counts)
    six_volumes, surface = 0.0, 0.0
    for case in used.tolist():
        found = triangles()[case]
        a, b, c = found[:, 0], found[:, 1], found[:, 2]
        # a . (b x c) of a triangle that is moved by o grows by o . (a x b + b x c + c x a).
        six_volumes += counts[case] * float((a * np.cross(b, c)).sum())
        six_volumes += float(origins[case] @ (np.cross(a, b) + np.cross(b, c) + np.cross(c, a)).sum(axis=0))
        sides = np.cross((b - a) @ part.axes_mm.T, (c - a) @ part.axes_mm.T)
        surface += counts[case] * float(np.linalg.norm(sides, axis=1).sum()) / 2.0
    scale = abs(float(np.linalg.det(part.axes_mm)))
    return MeshSize(six_volumes / 6.0 * scale, surface)


def _cases(part: Part) -> tuple[NDArray[np.int64], Floats]:
    """Return how often each case occurs, and the sum of the places of its cubes ``(256, 3)``, in voxels."""
    counts = np.zeros(_CASES, np.int64)
    origins = np.zeros((_CASES, 3))
    for start, stop in part.slabs():
        # Cubes begin in the empty plane before the box, and end in the one after it.
        first = start - 1 if start == 0 else start
        cases = _cube_cases(part.planes(first, stop + 1))
        at = np.nonzero((cases != 0) & (cases != _CASES - 1))
        found = cases[at]
        counts += np.bincount(found, minlength=_CASES)
        for axis, offset in enumerate((first + 1, 0, 0)):
            origins[:, axis] += np.bincount(found, weights=at[axis] + offset, minlength=_CASES)
    return counts, origins


def _cube_cases(planes: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the case of each cube of eight neighbours, ``(depth - 1, rows - 1, cols - 1)``."""
    depth, rows, cols = (length - 1 for length in planes.shape)
    cases = np.zeros((depth, rows, cols), np.uint8)
    for bit, (z, y, x) in enumerate(_CORNERS):
        cases |= planes[z : z + depth, y : y + rows, x : x + cols].view(np.uint8) << bit
    return cases
