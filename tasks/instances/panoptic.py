"""Objects and a class map made one: which objects are seen, and what stuff fills the rest.

The rules of Panoptic FPN (Kirillov et al. 2019, arXiv 1901.02446, section 3, after arXiv 1801.00868, section 6.2):
things are laid down in the order of their scores; one that is hidden too far by those before it is dropped; stuff fills
what is left; a stuff segment that is too small is void, here class 0. Over a whole scene the total of a class says
nothing any more, so a stuff segment is a connected area.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from tasks.answers.components import join
from tasks.geometry.box import Box, split
from tasks.instances.join import Objects
from tasks.instances.paint import WINDOWS
from tasks.jobs.instances import PanopticRules
from tasks.segment.fragments import Fragments

_MOST_CLASSES = 1 << 16

ReadClasses = Callable[[Box], NDArray[np.unsignedinteger[Any]]]


def seen_objects(fragments: Fragments, objects: Objects, rules: PanopticRules) -> Objects:
    """Leave out objects that are no things, and those that more certain ones hide too far.

    Only the fragments of one object and of those that meet its box are in memory, a window of them at a time; beside
    them a number for every two fragments whose boxes meet.

    Args:
        fragments: Of all tiles.
        objects: That they were joined to, the most certain first.
        rules: How much may be hidden.

    Returns:
        The others, numbered anew in the same order.
    """
    kept = np.isin(objects.labels, rules.things)
    order = np.argsort(objects.of_fragment, kind="stable")
    ends = np.searchsorted(objects.of_fragment[order], np.arange(len(objects) + 1))
    near = _Near(fragments)
    for number in range(len(objects)):
        own = order[ends[number] : ends[number + 1]]
        before = near.of(own)
        above = objects.of_fragment[before]
        before = before[(above >= 0) & (above < number)]
        before = before[kept[objects.of_fragment[before]]]
        if kept[number] and len(before):
            n_pixels, n_hidden = _hidden(fragments, own, before)
            kept[number] = n_hidden <= rules.overlap * n_pixels
    numbers = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1)
    return Objects(numbers[objects.of_fragment], objects.labels[kept], objects.scores[kept])


class _Near:
    """Which fragments lie near others, by their boxes."""

    def __init__(self, fragments: Fragments) -> None:
        start, stop = fragments.table["start"], fragments.table["stop"]
        self._boxes = shapely.box(start[:, 0], start[:, 1], stop[:, 0], stop[:, 1])
        self._tree = shapely.STRtree(self._boxes)

    def of(self, own: NDArray[np.int64]) -> NDArray[np.int64]:
        found: NDArray[np.int64] = np.unique(self._tree.query(self._boxes[own])[1]).astype(np.int64)
        return found


def _hidden(fragments: Fragments, own: NDArray[np.int64], before: NDArray[np.int64]) -> tuple[int, int]:
    """Return the pixels of an object, and how many of them others hide; window by window of its box."""
    boxes = [fragments.box(k) for k in own.tolist()]
    start = tuple(min(box.start[axis] for box in boxes) for axis in range(2))
    stop = tuple(max(box.stop[axis] for box in boxes) for axis in range(2))
    n_pixels = n_hidden = 0
    for part in split(Box(start, stop).shape, WINDOWS[2]):
        window = part.shifted(start)
        mine, others = _union(fragments, own, window), _union(fragments, before, window)
        n_pixels += int(mine.sum())
        n_hidden += int((mine & others).sum())
    return n_pixels, n_hidden


def _union(fragments: Fragments, chosen: NDArray[np.int64], window: Box) -> NDArray[np.bool_]:
    union = np.zeros(window.shape, np.bool_)
    for k in chosen.tolist():
        box = fragments.box(k)
        common = box.intersection(window)
        if not common.is_empty:
            union[common.relative_to(window.start).slices] |= fragments.mask(k)[common.relative_to(box.start).slices]
    return union


def stuff_windows(
    read: ReadClasses, read_ids: Callable[[Box], NDArray[np.uint32]], shape: tuple[int, int], rules: PanopticRules
) -> Iterator[tuple[Box, NDArray[np.unsignedinteger[Any]]]]:
    """Yield windows with the class of stuff at each pixel: 0 under things and where a connected area is too small.

    Args:
        read: Reads the class map; its dtype's largest value is not observed, and stays.
        read_ids: Reads which object is seen at each pixel, 0 for none.
        shape: Rows and columns.
        rules: Which classes are things, and how small stuff may be.
    """
    kinds = np.arange(_MOST_CLASSES, dtype=np.uint32)
    kinds[[0, *rules.things]] = 0

    def stuff(box: Box) -> NDArray[np.unsignedinteger[Any]]:
        classes = read(box)
        hidden = classes == np.iinfo(classes.dtype).max
        return np.where(hidden | (read_ids(box) > 0), 0, kinds[classes]).astype(np.uint32)

    found = join(stuff, shape, 8, (WINDOWS[2][0], WINDOWS[2][1]))
    sizes = np.zeros(found.n + 1, np.int64)
    for _, labels in found.windows():
        numbers, counts = np.unique(labels, return_counts=True)
        sizes[numbers] += counts
    large = np.concatenate([[False], sizes[1:] >= rules.stuff_min_pixels])
    classes_of = np.where(large, np.concatenate([[0], found.kinds]), 0)
    for box, labels in found.windows():
        below = read(box)
        unseen = np.iinfo(below.dtype).max
        yield box, np.where(below == unseen, unseen, classes_of[labels]).astype(below.dtype)
