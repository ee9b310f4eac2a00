"""Lesions: the connected parts of a mask, with their volumes in millilitres."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import cc3d
import numpy as np
from numpy.typing import NDArray

from tasks.box import Box

Connectivity: TypeAlias = Literal[6, 18, 26]

_MM3_PER_ML = 1000.0


@dataclass(frozen=True, slots=True)
class Lesion:
    """One connected part of a mask.

    Attributes:
        id: 1 for the largest of its label.
        label: Its class in the mask.
        n_voxels: How many voxels it has.
        volume_ml: Voxels times the volume of one.
        centroid_ras_mm: Mean of its voxel centres in world coordinates: right, anterior, superior.
        centroid_voxel: The same in voxels of the mask.
        touches_border: Whether it reaches the edge of the volume, and may go on beyond it.
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


def lesions(
    mask: NDArray[np.uint8] | NDArray[np.uint16],
    affine_mm: NDArray[np.float64],
    label: int,
    connectivity: Connectivity = 26,
) -> list[Lesion]:
    """Find the lesions of one class.

    At most 6 bytes per voxel of the part that holds the class, the mask included: one for the mask, one for its
    binary copy, up to four for the parts' numbers; and about 1 kB per lesion.

    Args:
        mask: ``depth, rows, cols``.
        affine_mm: 4 x 4, from voxels of the mask to world.
        label: The class to look at; every other value, 255 (not observed) too, is outside.
        connectivity: 6 joins voxels that share a face, 18 an edge, 26 a corner.

    Returns:
        Largest first, ties in array order; empty where the class does not occur.
    """
    window = _extent(mask, label)
    if window is None:
        return []
    counts, bounds, centroids = _components(mask, window, label, connectivity)
    order = np.lexsort((*centroids.T[::-1], *bounds[:, ::-1, 0].T, -counts))
    world = centroids @ affine_mm[:3, :3].T + affine_mm[:3, 3]
    at_border = ((bounds[..., 0] == 0) | (bounds[..., 1] == np.array(mask.shape) - 1)).any(axis=1)
    voxel_ml = abs(float(np.linalg.det(affine_mm[:3, :3]))) / _MM3_PER_ML
    result = []
    for rank, index in enumerate(order.tolist(), start=1):
        start, last = bounds[index].T.tolist()
        box = Box(tuple(start), tuple(end + 1 for end in last))
        n_voxels = int(counts[index])
        place, voxel = tuple(world[index].tolist()), tuple(centroids[index].tolist())
        result.append(Lesion(rank, label, n_voxels, n_voxels * voxel_ml, place, voxel, bool(at_border[index]), box))
    return result


def total_ml(found: Sequence[Lesion]) -> float:
    """Return the volume of all lesions together."""
    return float(sum(lesion.volume_ml for lesion in found))


def write_lesions_csv(found: Sequence[Lesion], names: Sequence[str], destination: Path) -> None:
    """Write one row per lesion; a file with a header alone where there is none.

    Args:
        found: Lesions, in the order of the rows.
        names: Of the classes, by label.
        destination: The CSV file; lengths in mm, volumes in mL, world axes right-anterior-superior.
    """
    header = ["id", "label", "class", "n_voxels", "volume_ml", "r_mm", "a_mm", "s_mm", "touches_border"]
    with destination.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for lesion in found:
            place = [f"{value:.2f}" for value in lesion.centroid_ras_mm]
            border = "yes" if lesion.touches_border else "no"
            what = [lesion.id, lesion.label, names[lesion.label], lesion.n_voxels, f"{lesion.volume_ml:.4f}"]
            writer.writerow([*what, *place, border])


def _components(
    mask: NDArray[np.uint8] | NDArray[np.uint16], window: Box, label: int, connectivity: Literal[6, 18, 26]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return per component its voxels, first and last index per axis ``(n, 3, 2)``, and centroid ``(n, 3)``."""
    # As integers: cc3d's shortcut for binary images makes its tables too small for a window one voxel thick.
    inside = (mask[window.slices] == label).view(np.uint8)
    numbered = cc3d.connected_components(inside, connectivity=connectivity)
    del inside
    found = cc3d.statistics(numbered, no_slice_conversion=True)
    bounds = found["bounding_boxes"][1:].astype(np.int64).reshape(-1, 3, 2) + np.reshape(window.start, (3, 1))
    return found["voxel_counts"][1:].astype(np.int64), bounds, found["centroids"][1:] + window.start


def _extent(mask: NDArray[np.uint8] | NDArray[np.uint16], label: int) -> Box | None:
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
