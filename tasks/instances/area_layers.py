"""The objects of a stitched class map, laid onto the grid and measured window by window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.geometry.box import Box, split
from tasks.instances.areas import Spool, find_areas
from tasks.instances.borders import Painted, grow_by_windows
from tasks.instances.paint import WINDOWS, InstanceTable, beside_unseen, first_pixels
from tasks.instances.volume_areas import find_volume_areas
from tasks.jobs.instances import InstanceRules
from tasks.segment.store import BlockStore


@dataclass(frozen=True)
class AreaTable:
    """The objects of a class map.

    Attributes:
        table: By id; scores are NaN where no confidence was kept.
        n_whole: Components that were too large to be cut.
    """

    table: InstanceTable
    n_whole: int


def lay_areas(
    store: BlockStore, shape: tuple[int, ...], rules: InstanceRules, painted: Painted, *, has_confidence: bool
) -> AreaTable:
    """Tell the objects of a class map apart and number them.

    A raster is never held as a whole, a volume is, with at most 6 bytes per voxel.

    Args:
        store: Holds the class map, every block of it.
        shape: Of the scene.
        rules: Which classes, and how they are cut.
        painted: Takes a number per pixel, which the table's ``ids`` make ids of.
        has_confidence: Whether the store holds it; an object's score is its mean.
    """
    lay = _lay_raster if len(shape) == 2 else _lay_volume
    classes, n_whole = lay(partial(store.read, "mask"), shape, rules, painted)
    table = _measured(store, shape, painted, classes, has_confidence=has_confidence)
    return AreaTable(table, n_whole)


def _lay_raster(
    read: Callable[[Box], NDArray[Any]], shape: tuple[int, ...], rules: InstanceRules, painted: Painted
) -> tuple[NDArray[np.int64], int]:
    with Spool() as spool:
        areas = find_areas(read, (shape[0], shape[1]), rules=rules, spool=spool, window=(WINDOWS[2][0], WINDOWS[2][1]))
        for box, numbers in areas.windows():
            if numbers.any():
                painted[box.slices] = numbers.astype(np.uint32)
    if rules.border is not None:
        grow_by_windows(
            lambda box: read(box) == rules.border, shape, window=WINDOWS[2], rank=rules.rank, painted=painted
        )
    return areas.classes, areas.n_whole


def _lay_volume(
    read: Callable[[Box], NDArray[Any]], shape: tuple[int, ...], rules: InstanceRules, painted: Painted
) -> tuple[NDArray[np.int64], int]:
    found = find_volume_areas(read(Box.of_shape(shape)), rules)
    for box in split(shape, WINDOWS[3]):
        painted[box.slices] = found.ids[box.slices]
    return found.classes, found.n_whole


def _measured(
    store: BlockStore, shape: tuple[int, ...], painted: Painted, classes: NDArray[np.int64], *, has_confidence: bool
) -> InstanceTable:
    """Number objects along their first pixels, and take what is known of each; nothing depends on the windows."""
    n = len(classes)
    pixels, firsts = np.zeros(n, np.int64), np.full(n, np.iinfo(np.int64).max)
    touches, percent = np.zeros(n, np.bool_), np.zeros(n, np.int64)

    def unseen(box: Box) -> NDArray[np.bool_]:
        mask = store.read("mask", box)
        hidden: NDArray[np.bool_] = mask == np.iinfo(mask.dtype).max
        return hidden

    for box in split(shape, WINDOWS[len(shape)]):
        numbers, local = np.unique(np.asarray(painted[box.slices]), return_inverse=True)
        local = local.reshape(box.shape) + (1 if numbers[0] > 0 else 0)
        found = numbers[numbers > 0].astype(np.int64) - 1
        if len(found) == 0:
            continue
        pixels[found] += np.bincount(local.ravel(), minlength=len(found) + 1)[1:]
        firsts[found] = np.minimum(firsts[found], first_pixels(local, len(found), box, shape))
        at_border = local[beside_unseen(box, shape, unseen)]
        touches[found] |= np.bincount(at_border, minlength=len(found) + 1)[1:] > 0
        if has_confidence:
            sums = np.bincount(local.ravel(), weights=store.read("confidence", box).ravel(), minlength=len(found) + 1)
            percent[found] += sums[1:].astype(np.int64)
    scores = (percent / pixels / 100 if has_confidence else np.full(n, np.nan)).astype(np.float32)
    order = np.argsort(firsts)
    ids = np.zeros(n + 1, np.uint32)
    ids[order + 1] = np.arange(1, n + 1)
    return InstanceTable(
        labels=classes[order].astype(np.uint16),
        scores=scores[order],
        pixels=pixels[order],
        firsts=firsts[order],
        touches_border=touches[order],
        ids=ids,
    )
