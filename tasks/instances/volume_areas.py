"""The objects of a volume's class map, numbered by first voxel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from tasks.instances.borders import grow_by_windows
from tasks.instances.split import MOST_PIXELS, by_distance
from tasks.jobs.instances import InstanceRules

Labels = NDArray[np.int64]
# Borders are shared out so many voxels at a time: each takes some hundred bytes while they are.
_GROWN = (128, 256, 256)


@dataclass(frozen=True, eq=False)
class VolumeAreas:
    """The objects of a volume.

    Attributes:
        ids: Uint32 ``depth, rows, cols``, 0 where there is none.
        classes: Class of every object, by id from 1.
        n_whole: Components that were too large to be cut.
    """

    ids: NDArray[np.uint32]
    classes: Labels
    n_whole: int


def find_volume_areas(mask: NDArray[np.unsignedinteger[Any]], rules: InstanceRules) -> VolumeAreas:
    """Find the objects of a class map; at most 6 bytes per voxel, the mask included, where it has one byte.

    Args:
        mask: ``depth, rows, cols``, uint8 or uint16; what is not observed is no class of the rules. Left alone.
        rules: Which classes, and how they are cut.
    """
    kinds = rules.kinds.astype(mask.dtype)
    found: NDArray[Any] = cc3d.connected_components(kinds[mask], connectivity=rules.connectivity, out_dtype=np.uint32)
    ids = found.reshape(mask.shape)
    n_whole = 0
    if rules.min_distance is not None:
        n_whole = _cut(ids, rules.spacing, rules.min_distance, rules.rank)
    classes = _number(ids, mask, rules.min_pixels)
    if rules.border is not None:
        grow_by_windows(
            lambda box: mask[box.slices] == rules.border, mask.shape, window=_GROWN, rank=rules.rank, painted=ids
        )
    return VolumeAreas(ids, classes, n_whole)


def _cut(ids: NDArray[np.uint32], spacing_mm: tuple[float, ...], min_distance: float, rank: int) -> int:
    """Cut components in place, each in its own window; new parts get new numbers. Return how many were too large."""
    boxes = cc3d.statistics(ids, no_slice_conversion=True)["bounding_boxes"].astype(np.int64).reshape(-1, 3, 2)
    known, n_whole = len(boxes) - 1, 0
    for number, box in enumerate(boxes.tolist()[1:], start=1):
        if max((last - first + 1) * step for (first, last), step in zip(box, spacing_mm, strict=True)) <= min_distance:
            continue
        window = tuple(slice(max(0, first - 1), last + 2) for first, last in box)
        if ids[window].size > MOST_PIXELS:
            n_whole += 1
            continue
        parts = by_distance(ids[window] == number, spacing_mm, min_distance, rank)
        further = parts > 1
        ids[window][further] = known + parts[further] - 1
        known += int(parts.max()) - 1
    return n_whole


def _number(ids: NDArray[np.uint32], mask: NDArray[np.unsignedinteger[Any]], min_pixels: int) -> Labels:
    """Number objects by first voxel in place, leaving small ones out, and return their classes; plane by plane."""
    n = int(ids.max(initial=0)) + 1
    pixels, firsts = np.zeros(n, np.int64), np.full(n, np.iinfo(np.int64).max)
    classes = np.zeros(n, np.int64)
    for index, plane in enumerate(ids):
        found, place, count = np.unique(plane, return_index=True, return_counts=True)
        pixels[found] += count
        new = firsts[found] == np.iinfo(np.int64).max
        firsts[found[new]] = place[new] + index * plane.size
        classes[found[new]] = mask[index].ravel()[place[new]]
    kept = np.flatnonzero(pixels[1:] >= min_pixels) + 1
    kept = kept[np.argsort(firsts[kept])]
    table = np.zeros(n, np.uint32)
    table[kept] = np.arange(1, len(kept) + 1)
    for plane in ids:
        plane[...] = table[plane]
    return classes[kept]
