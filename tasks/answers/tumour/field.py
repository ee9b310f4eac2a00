"""What a scan shows of the patient: whether two meet, and how much of a lesion the other one observed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from tasks.answers.tumour.components import Components

Floats = NDArray[np.float64]
_SAME_MM = 1e-6


@dataclass(frozen=True, eq=False)
class Field:
    """The box of a scan.

    Attributes:
        shape: ``depth, rows, cols``.
        affine_mm: 4 x 4, from voxel centres to world.
    """

    shape: tuple[int, ...]
    affine_mm: Floats

    @property
    def corners_mm(self) -> Floats:
        """The outer corners of its outer voxels ``(8, 3)``."""
        ends = [(-0.5, n - 0.5) for n in self.shape]
        return np.asarray(np.array(list(product(*ends))) @ self.affine_mm[:3, :3].T + self.affine_mm[:3, 3])


def fields_meet(one: Field, other: Field) -> bool:
    """Tell whether two scans share any space; the separating axis theorem for two parallelepipeds."""
    axes = [field.affine_mm[:3, :3].T for field in (one, other)]
    normals = [np.cross(steps[first], steps[second]) for steps in axes for first, second in ((0, 1), (0, 2), (1, 2))]
    normals += [np.cross(here, there) for here in axes[0] for there in axes[1]]
    for normal in normals:
        length = np.linalg.norm(normal)
        # Parallel edges span no plane of their own.
        if length > 0 and _are_apart(one.corners_mm @ normal / length, other.corners_mm @ normal / length):
            return False
    return True


def _are_apart(one: Floats, other: Floats) -> bool:
    return bool(one.max() <= other.min() + _SAME_MM or other.max() <= one.min() + _SAME_MM)


def seen_shares(lesions_of: Components, other: Components, shape: tuple[int, ...]) -> tuple[float, ...]:
    """Return, per lesion of one date, the share of its voxels that another scan holds and observed.

    Args:
        lesions_of: Whose lesions.
        other: Of the other scan.
        shape: Of the other mask.
    """
    seen = np.zeros(len(lesions_of.lesions), np.int64)
    for lesion, world in marked_of(lesions_of):
        voxels = nearest_voxels(world, other.affine_mm)
        inside = np.asarray(((voxels >= 0) & (voxels < shape)).all(axis=1), np.bool_)
        if other.unseen is not None:
            inside[inside] = ~other.unseen.at(voxels[inside])
        seen += np.bincount(lesion[inside], minlength=len(seen))
    return tuple(
        float(count / lesion.n_voxels) for count, lesion in zip(seen.tolist(), lesions_of.lesions, strict=True)
    )


def places_of(components: Components) -> NDArray[np.int64]:
    """Return the place in ``lesions`` of every component number; -1 for 0."""
    places = np.full(len(components.lesions) + 1, -1, np.int64)
    places[components.number_of] = np.arange(len(components.lesions))
    return places


def marked_of(components: Components) -> Iterator[tuple[NDArray[np.int64], Floats]]:
    """Yield, plane by plane, the lesion of every marked voxel, and where the voxel is ``(n, 3)`` in mm."""
    places = places_of(components)
    for plane, numbers in enumerate(components.numbers):
        rows, cols = np.nonzero(numbers)
        if len(rows):
            voxels = np.stack((np.full(len(rows), plane), rows, cols), axis=1) + components.window.start
            world = voxels @ components.affine_mm[:3, :3].T + components.affine_mm[:3, 3]
            yield places[numbers[rows, cols]], world


def nearest_voxels(world: Floats, affine_mm: Floats) -> NDArray[np.int64]:
    """Return the nearest voxels; a point between two voxels goes to the higher one."""
    inverse = np.linalg.inv(affine_mm)
    # What the two affines' rounding may leave of a half must not decide.
    voxels = np.round(world @ inverse[:3, :3].T + inverse[:3, 3], 6)
    return np.asarray(np.floor(voxels + 0.5), np.int64)
