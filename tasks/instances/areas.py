"""The objects of a class map that does not fit in memory: its connected parts, cut where objects touch."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, Any, TypeAlias

import cc3d
import numpy as np
from numpy.typing import NDArray

from tasks.answers.components import WINDOW, Components, Labels, join
from tasks.geometry.box import Box
from tasks.instances.split import MOST_PIXELS, Parts, by_distance
from tasks.jobs.instances import InstanceRules

ReadClasses: TypeAlias = Callable[[Box], NDArray[np.unsignedinteger[Any]]]


@dataclass(frozen=True, kw_only=True)
class Areas:
    """The objects of a raster, numbered from 1 by first pixel; a few numbers per object are held.

    Attributes:
        components: Connected parts of the map.
        spool: Those that were cut, on disk.
        offsets: Of each component, 0 for none: one less than its first part's place in ``numbers``.
        numbers: Object of every part, 0 for those that are left out; the first entry is no part.
        classes: Class of every object.
        n_whole: Components that were too large to be cut.
    """

    components: Components
    spool: Spool
    offsets: Labels
    numbers: Labels
    classes: Labels
    n_whole: int

    @property
    def n(self) -> int:
        """How many objects."""
        return len(self.classes)

    def windows(self) -> Iterator[tuple[Box, Labels]]:
        """Yield windows in row-major order with the object of each pixel, 0 for none."""
        for box, labels in self.components.windows():
            places = self.offsets[labels] + (labels > 0)
            for number in self.spool.among(np.unique(labels)):
                window, parts = self.spool.read(number)
                common = window.intersection(box)
                part = parts[common.relative_to(window.start).slices]
                places[common.relative_to(box.start).slices] += np.maximum(part - 1, 0)
            yield box, self.numbers[places]


def find_areas(
    read: ReadClasses, shape: tuple[int, int], rules: InstanceRules, spool: Spool, window: tuple[int, int] = WINDOW
) -> Areas:
    """Find the objects of a class map window by window; borders belong to none.

    Args:
        read: Reads class numbers of a window ``(rows, cols)``; what is not observed is no class of the rules.
        shape: Rows and columns.
        rules: Which classes, and how they are cut.
        spool: Open for as long as the objects are looked at.
        window: Rows and columns that are in memory at a time; changes nothing else.
    """
    kinds, connectivity = rules.kinds, _raster_connectivity(rules)

    def joined(box: Box) -> NDArray[np.unsignedinteger[Any]]:
        return kinds[read(box)]

    components = join(joined, shape, connectivity, window)
    pixels, boxes = _extents(components)
    cuts: dict[int, tuple[Labels, Labels]] = {}
    n_whole = 0
    if rules.min_distance is not None:
        for number, place, inside in _one_by_one(components, boxes, rules.min_distance):
            if inside is None:
                n_whole += 1
                continue
            parts = by_distance(inside, rules.spacing, rules.min_distance, rules.rank)
            if parts.max() > 1:
                spool.write(number, place, parts)
                cuts[number] = _measured(parts, place, shape)
    return _numbered(components, spool, pixels=pixels, cuts=cuts, min_pixels=rules.min_pixels, n_whole=n_whole)


def _raster_connectivity(rules: InstanceRules) -> Any:  # noqa: ANN401 - 4 or 8, as the rules have made sure
    return rules.connectivity


class Spool:
    """Parts of components, compressed in a file without a name; only places and sizes are held."""

    def __init__(self) -> None:
        self._file: IO[bytes] = TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._places: dict[int, tuple[int, int, Box]] = {}

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def write(self, number: int, window: Box, parts: Parts) -> None:
        """Keep the parts of a component, which lie in a window of the scene."""
        packed = zlib.compress(np.ascontiguousarray(parts).data, 1)
        self._places[number] = (self._file.seek(0, 2), len(packed), window)
        self._file.write(packed)

    def among(self, numbers: Labels) -> list[int]:
        """Return those components of which there are parts."""
        return [number for number in numbers.tolist() if number in self._places]

    def read(self, number: int) -> tuple[Box, Parts]:
        """Return a component's window, and its parts from 1, 0 outside."""
        place, length, window = self._places[number]
        self._file.seek(place)
        values = np.frombuffer(zlib.decompress(self._file.read(length)), np.int32)
        return window, values.reshape(window.shape)


def _extents(components: Components) -> tuple[Labels, Labels]:
    """Return pixels ``(n,)`` and boxes ``(n, 4)`` of components: first row and col, row and col behind the last."""
    pixels = np.zeros(components.n + 1, np.int64)
    boxes = np.tile(np.array([np.iinfo(np.int64).max] * 2 + [0, 0]), (components.n + 1, 1))
    for box, labels in components.windows():
        rows, cols = np.nonzero(labels)
        numbers = labels[rows, cols]
        pixels += np.bincount(numbers, minlength=components.n + 1)
        for axis, places in enumerate((rows + box.start[0], cols + box.start[1])):
            np.minimum.at(boxes[:, axis], numbers, places)
            np.maximum.at(boxes[:, axis + 2], numbers, places + 1)
    return pixels[1:], boxes[1:]


def _one_by_one(
    components: Components, boxes: Labels, min_distance: float
) -> Iterator[tuple[int, Box, NDArray[np.bool_] | None]]:
    """Yield each component that may be cut, its window, and its pixels there; None where they are too many.

    The window reaches a pixel beyond the component wherever the raster does. Most lie in a window of the pass whole.
    """
    done = np.zeros(components.n + 1, np.bool_)
    rows, cols = components.shape
    # Two peaks do not fit into less.
    done[1:] = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) <= min_distance
    for box, labels in components.windows():
        present = np.unique(labels[labels > 0])
        for number in present[~done[present]].tolist():
            done[number] = True
            top, left, bottom, right = boxes[number - 1].tolist()
            window = Box((max(0, top - 1), max(0, left - 1)), (min(rows, bottom + 1), min(cols, right + 1)))
            if np.prod(window.shape) > MOST_PIXELS:
                yield number, window, None
            elif window.intersection(box) == window:
                yield number, window, labels[window.relative_to(box.start).slices] == number
            else:
                yield number, window, _found_again(components, number, window)


def _found_again(components: Components, number: int, window: Box) -> NDArray[np.bool_]:
    """Return the pixels of a component that lies in a window whole: what its first pixel is connected with."""
    values = components.inside(window)
    labels = cc3d.connected_components(values, connectivity=components.connectivity).reshape(window.shape)
    row, col = divmod(int(components.firsts[number - 1]), components.shape[1])
    inside: NDArray[np.bool_] = labels == labels[row - window.start[0], col - window.start[1]]
    return inside


def _measured(parts: Parts, window: Box, shape: tuple[int, int]) -> tuple[Labels, Labels]:
    """Return first pixel and size of parts, in their order."""
    values, first, pixels = np.unique(parts, return_index=True, return_counts=True)
    rows, cols = np.divmod(first[values > 0], window.shape[1])
    return (rows + window.start[0]) * shape[1] + cols + window.start[1], pixels[values > 0]


def _numbered(
    components: Components,
    spool: Spool,
    pixels: Labels,
    cuts: dict[int, tuple[Labels, Labels]],
    min_pixels: int,
    n_whole: int,
) -> Areas:
    """Number parts by first pixel, leaving small ones out."""
    counts = np.ones(components.n, np.int64)
    for number, (firsts, _) in cuts.items():
        counts[number - 1] = len(firsts)
    owner = np.repeat(np.arange(components.n), counts)
    offsets = np.concatenate([[0], np.cumsum(counts) - counts]).astype(np.int64)
    first, size = components.firsts[owner], pixels[owner]
    for number, found in cuts.items():
        here = slice(offsets[number], offsets[number] + counts[number - 1])
        first[here], size[here] = found
    kept = np.flatnonzero(size >= min_pixels)
    order = kept[np.argsort(first[kept])]
    numbers = np.zeros(len(owner) + 1, np.int64)
    numbers[order + 1] = np.arange(1, len(order) + 1)
    return Areas(
        components=components,
        spool=spool,
        offsets=offsets,
        numbers=numbers,
        classes=components.kinds[owner[order]] - 1,
        n_whole=n_whole,
    )
