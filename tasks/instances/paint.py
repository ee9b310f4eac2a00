"""Objects laid onto the grid, window by window: of several at a pixel the most certain is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tasks.geometry.box import Box, split
from tasks.instances.join import Objects
from tasks.segment.fragments import Fragments

# Reads which pixels of a window were not observed.
Unseen: TypeAlias = Callable[[Box], NDArray[np.bool_]]
# Takes the numbers of a window's objects from 1, 0 where there is none.
Write: TypeAlias = Callable[[Box, NDArray[np.uint32]], None]

# Windows that are painted at a time, per number of axes.
WINDOWS = {2: (512, 4096), 3: (32, 256, 256)}


@dataclass(frozen=True, kw_only=True)
class InstanceTable:
    """The instances of a scene in the order of their ids, which count from 1 along their first visible pixels.

    Attributes:
        labels: Class number of each, uint16.
        scores: Of each, float32.
        pixels: How many of each are visible, int64.
        firsts: First visible pixel of each, row-major in the scene, int64.
        touches_border: Which of them reach the edge of the scene, or a pixel that was not observed.
        ids: Id of each painted number, 0 for number 0 and for objects of which nothing is visible, uint32.
    """

    labels: NDArray[np.uint16]
    scores: NDArray[np.float32]
    pixels: NDArray[np.int64]
    firsts: NDArray[np.int64]
    touches_border: NDArray[np.bool_]
    ids: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.labels)


def paint(
    fragments: Fragments, objects: Objects, shape: tuple[int, ...], unseen: Unseen, write: Write
) -> InstanceTable:
    """Lay objects onto the grid and number those that are visible.

    Numbers that are written are those of ``objects`` plus 1; the table's ``ids`` make ids of them.

    Args:
        fragments: Of all tiles.
        objects: That they were joined to.
        shape: Of the scene.
        unseen: Reads which pixels of a window were not observed.
        write: Keeps a window; windows come in row-major order, once each, ``WINDOWS`` large.
    """
    n = len(objects)
    pixels, firsts = np.zeros(n, np.int64), np.full(n, np.iinfo(np.int64).max)
    touches = np.zeros(n, np.bool_)
    for box, found, local in _windows(fragments, objects, shape):
        write(box, np.concatenate([[0], found + 1]).astype(np.uint32)[local])
        if len(found) == 0:
            continue
        pixels[found] += np.bincount(local.ravel(), minlength=len(found) + 1)[1:]
        firsts[found] = np.minimum(firsts[found], first_pixels(local, len(found), box, shape))
        at_border = local[beside_unseen(box, shape, unseen)]
        touches[found] |= np.bincount(at_border, minlength=len(found) + 1)[1:] > 0
    order = np.argsort(firsts, kind="stable")
    order = order[pixels[order] > 0]
    ids = np.zeros(n + 1, np.uint32)
    ids[order + 1] = np.arange(1, len(order) + 1)
    return InstanceTable(
        labels=objects.labels[order],
        scores=objects.scores[order],
        pixels=pixels[order],
        firsts=firsts[order],
        touches_border=touches[order],
        ids=ids,
    )


def _windows(
    fragments: Fragments, objects: Objects, shape: tuple[int, ...]
) -> Iterator[tuple[Box, NDArray[np.int64], NDArray[np.int64]]]:
    """Yield windows, the objects that fragments bring there, and which of these each pixel shows, from 1."""
    table = fragments.table
    kept = np.flatnonzero(objects.of_fragment >= 0)
    # The most certain is laid on last.
    kept = kept[np.argsort(-objects.of_fragment[kept], kind="stable")]
    band, in_band = -1, kept
    for box in split(shape, WINDOWS[len(shape)]):
        if box.start[0] != band:
            band = box.start[0]
            in_band = kept[(table["start"][kept, 0] < box.stop[0]) & (table["stop"][kept, 0] > band)]
        meets = (table["start"][in_band] < box.stop).all(1) & (table["stop"][in_band] > box.start).all(1)
        here = in_band[meets]
        found, local_numbers = np.unique(objects.of_fragment[here], return_inverse=True)
        local = np.zeros(box.shape, np.int64)
        for k, number in zip(here.tolist(), local_numbers.tolist(), strict=True):
            own = fragments.box(k)
            part = own.intersection(box)
            mask = fragments.mask(k)[part.relative_to(own.start).slices]
            local[part.relative_to(box.start).slices][mask] = number + 1
        yield box, found.astype(np.int64), local


def first_pixels(local: NDArray[np.int64], n: int, box: Box, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the first pixel of each object of a window, row-major in the scene; the highest number for none.

    Args:
        local: Of a window: 1 to ``n`` where an object is visible.
        n: How many objects the window may show.
        box: The window.
        shape: Of the scene.
    """
    firsts = np.full(n + 1, np.iinfo(np.int64).max)
    places = np.flatnonzero(local)[::-1]
    # Of several pixels the one that is assigned last stays: the first.
    firsts[local.ravel()[places]] = places
    visible = firsts[1:] < local.size
    inside = np.unravel_index(firsts[1:][visible], box.shape)
    found = firsts[1:].copy()
    found[visible] = np.ravel_multi_index(tuple(i + s for i, s in zip(inside, box.start, strict=True)), shape)
    return found


def beside_unseen(box: Box, shape: tuple[int, ...], unseen: Unseen) -> NDArray[np.bool_]:
    """Return which pixels of a window have a neighbour along an axis that was not observed or is not in the scene.

    Args:
        box: The window.
        shape: Of the scene.
        unseen: Reads which pixels of a window were not observed.
    """
    wide = Box(tuple(a - 1 for a in box.start), tuple(b + 1 for b in box.stop))
    inside = wide.intersection(Box.of_shape(shape))
    hidden = np.ones(wide.shape, np.bool_)
    hidden[inside.relative_to(wide.start).slices] = unseen(inside)
    beside = np.zeros(box.shape, np.bool_)
    for axis in range(len(shape)):
        for offset in (0, 2):
            cut = [slice(1, -1)] * len(shape)
            cut[axis] = slice(offset, offset + box.shape[axis])
            beside |= hidden[tuple(cut)]
    return beside
