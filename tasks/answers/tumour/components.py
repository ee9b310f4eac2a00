"""Lesions: the connected parts of a mask, with their volumes in millilitres."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import cc3d
import numpy as np
from numpy.typing import NDArray

from tasks.answers.tumour.unseen import Unseen, find_unseen
from tasks.geometry.box import Box

Connectivity: TypeAlias = Literal[6, 18, 26]
Mask: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]

_MM3_PER_ML = 1000.0
# Voxels that are looked at in one go inside a lesion's box.
_SLAB_VOXELS = 1 << 19


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesion:
    """One connected part of a mask.

    Attributes:
        id: 1 for the largest of its label.
        label: Its class in the mask.
        n_voxels: How many voxels it has.
        volume_ml: Voxels times the volume of one.
        centroid_ras_mm: Mean of its voxel centres in world coordinates: right, anterior, superior.
        centroid_voxel: The same in voxels of the mask.
        touches_border: Whether it reaches the edge of the volume or what was not observed, and may go on there.
        box: The smallest window of the mask that holds it.
    """

    id: int
    label: int
    n_voxels: int
    volume_ml: float
    centroid_ras_mm: tuple[float, float, float]
    centroid_voxel: tuple[float, float, float]
    touches_border: bool
    box: Box


@dataclass(frozen=True, eq=False)
class Part:
    """The voxels of one lesion, read slab by slab.

    Attributes:
        numbers: Component numbers of the lesion's box: a view ``depth, rows, cols``, nothing is copied.
        number: Of the lesion.
        affine_mm: 4 x 4, from voxels of the box to world.
    """

    numbers: NDArray[Any]
    number: int
    affine_mm: NDArray[np.float64]

    @property
    def axes_mm(self) -> NDArray[np.float64]:
        """3 x 3: its columns are the steps along depth, rows and cols, in mm."""
        return self.affine_mm[:3, :3]

    def planes(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Return planes ``start`` to ``stop`` with one empty voxel round each; outside the box they are empty."""
        depth, rows, cols = self.numbers.shape
        planes = np.zeros((stop - start, rows + 2, cols + 2), np.bool_)
        low, high = max(0, start), min(depth, stop)
        if low < high:
            inside = planes[low - start : high - start, 1:-1, 1:-1]
            np.equal(self.numbers[low:high], self.number, out=inside)
        return planes

    def slabs(self) -> Iterator[tuple[int, int]]:
        """Yield the first plane and the one after the last of slabs that fit into constant memory."""
        depth, rows, cols = self.numbers.shape
        step = max(1, _SLAB_VOXELS // ((rows + 2) * (cols + 2)))
        for start in range(0, depth, step):
            yield start, min(depth, start + step)

    def turned(self, axis: int) -> Part:
        """Return the same lesion with ``axis`` of its box in front."""
        order = [axis, *(other for other in range(3) if other != axis)]
        affine = self.affine_mm[:, [*order, 3]]
        return Part(self.numbers.transpose(order), self.number, affine)


@dataclass(frozen=True, eq=False, kw_only=True)
class Components:
    """All lesions of a mask, and which voxel belongs to which.

    Attributes:
        lesions: Largest first.
        window: The window of the mask that holds them all.
        numbers: Component numbers inside ``window``, 0 outside all lesions.
        number_of: The component number of a lesion, by its place in ``lesions``.
        affine_mm: 4 x 4, from voxels of the mask to world.
        unseen: Voxels of the mask that were not observed; None where all were.
    """

    lesions: list[Lesion]
    window: Box
    numbers: NDArray[Any]
    number_of: NDArray[np.int64]
    affine_mm: NDArray[np.float64]
    unseen: Unseen | None

    def part(self, lesion: Lesion) -> Part:
        """Return the voxels of one lesion."""
        affine = self.affine_mm.copy()
        affine[:3, 3] += affine[:3, :3] @ np.array(lesion.box.start)
        numbers = self.numbers[lesion.box.relative_to(self.window.start).slices]
        return Part(numbers, int(self.number_of[lesion.id - 1]), affine)

    def packed(self) -> Components:
        """Return the same with numbers in the smallest type that holds them, to be kept for a later date."""
        smallest = np.min_scalar_type(len(self.lesions))
        return replace(self, numbers=self.numbers.astype(smallest, copy=False))


def find_components(
    mask: Mask, affine_mm: NDArray[np.float64], label: int, connectivity: Connectivity = 26
) -> Components:
    """Find the lesions of one class.

    At most 6 bytes per voxel of the part that holds the class, the mask included: one for the mask, one for its
    binary copy, up to four for the parts' numbers, which stay; about 1 kB per lesion; and where something was not
    observed, which voxels those are, an eighth of a byte per voxel of the mask.

    Args:
        mask: ``depth, rows, cols``.
        affine_mm: 4 x 4, from voxels of the mask to world.
        label: The class to look at; every other value is outside. The highest of the type, 255, is not observed.
        connectivity: 6 joins voxels that share a face, 18 an edge, 26 a corner.

    Returns:
        Largest first, ties in array order; empty where the class does not occur.
    """
    window = _extent(mask, label)
    if window is None:
        nothing = Box((0, 0, 0), (0, 0, 0))
        return Components(
            lesions=[],
            window=nothing,
            numbers=np.zeros((0, 0, 0), np.uint32),
            number_of=np.zeros(0, np.int64),
            affine_mm=affine_mm,
            unseen=find_unseen(mask),
        )
    numbers, counts, bounds, centroids = _number(mask, window, label, connectivity)
    order = np.lexsort((*centroids.T[::-1], *bounds[:, ::-1, 0].T, -counts))
    world = centroids @ affine_mm[:3, :3].T + affine_mm[:3, 3]
    at_border = ((bounds[..., 0] == 0) | (bounds[..., 1] == np.array(mask.shape) - 1)).any(axis=1)
    unseen = find_unseen(mask)
    if unseen is not None:
        at_border[unseen.beside(numbers, window, connectivity) - 1] = True
    voxel_ml = abs(float(np.linalg.det(affine_mm[:3, :3]))) / _MM3_PER_ML
    found = []
    for rank, index in enumerate(order.tolist(), start=1):
        start, last = bounds[index].T.tolist()
        box = Box(tuple(start), tuple(end + 1 for end in last))
        n_voxels = int(counts[index])
        place, voxel = tuple(world[index].tolist()), tuple(centroids[index].tolist())
        found.append(
            Lesion(
                id=rank,
                label=label,
                n_voxels=n_voxels,
                volume_ml=n_voxels * voxel_ml,
                centroid_ras_mm=place,
                centroid_voxel=voxel,
                touches_border=bool(at_border[index]),
                box=box,
            )
        )
    return Components(
        lesions=found, window=window, numbers=numbers, number_of=order + 1, affine_mm=affine_mm, unseen=unseen
    )


def lesions(mask: Mask, affine_mm: NDArray[np.float64], label: int, connectivity: Connectivity = 26) -> list[Lesion]:
    """Return the lesions of one class; arguments, order and memory as of ``find_components``."""
    return find_components(mask, affine_mm, label, connectivity).lesions


def total_ml(found: Sequence[Lesion]) -> float:
    """Return the volume of all lesions together."""
    return float(sum(lesion.volume_ml for lesion in found))


def _number(
    mask: Mask, window: Box, label: int, connectivity: Connectivity
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return component numbers, and per component its voxels, first and last index per axis, and centroid."""
    # As integers: cc3d's shortcut for binary images makes its tables too small for a window one voxel thick.
    inside = (mask[window.slices] == label).view(np.uint8)
    numbered = cc3d.connected_components(inside, connectivity=connectivity)
    del inside
    found = cc3d.statistics(numbered, no_slice_conversion=True)
    bounds = found["bounding_boxes"][1:].astype(np.int64).reshape(-1, 3, 2) + np.reshape(window.start, (3, 1))
    return numbered, found["voxel_counts"][1:].astype(np.int64), bounds, found["centroids"][1:] + window.start


def _extent(mask: Mask, label: int) -> Box | None:
    """Return the window that holds the class; slice by slice, so that no copy of the mask is made."""
    planes = [index for index, plane in enumerate(mask) if (plane == label).any()]
    if not planes:
        return None
    seen = np.zeros(mask.shape[1:], np.bool_)
    for index in planes:
        seen |= mask[index] == label
    rows, cols = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    start = (planes[0], int(rows[0]), int(cols[0]))
    return Box(start, (planes[-1] + 1, int(rows[-1]) + 1, int(cols[-1]) + 1))
