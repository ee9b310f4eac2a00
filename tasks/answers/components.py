"""Connected areas of a raster that does not fit in memory, joined at the seams of the windows they are found in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeAlias

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tasks.geometry.box import Box, split

Inside: TypeAlias = Callable[[Box], NDArray[np.bool_]]
Joined: TypeAlias = Callable[[Box], NDArray[np.bool_] | NDArray[np.unsignedinteger[Any]]]
Labels: TypeAlias = NDArray[np.int64]
WINDOW = (1024, 1024)
_STRUCTURES = {4: ndimage.generate_binary_structure(2, 1), 8: ndimage.generate_binary_structure(2, 2)}


class Numbered(Protocol):
    """Areas that do not overlap."""

    @property
    def n(self) -> int:
        """How many there are."""
        ...

    def windows(self) -> Iterator[tuple[Box, NDArray[np.int64]]]:
        """Yield windows in row-major order with the number of the area at each pixel, 0 where there is none."""
        ...


@dataclass(frozen=True, kw_only=True)
class Components:
    """Connected areas, numbered from 1 by their first pixel in row-major order, whatever the windows.

    A few bytes per area and window are held; labels are found again when a window is asked for.

    Attributes:
        inside: Reads a window ``(rows, cols)`` of what is to be joined; see ``join``.
        shape: Rows and columns of the raster.
        connectivity: 4 or 8.
        window: Rows and columns that are in memory at a time.
        numbers: Component of each label of each window in turn, 0 for none; the first entry is no label.
        n: How many there are.
        kinds: Number that the pixels of each component hold, ``(n,)``; 1 where they hold none.
        firsts: First pixel of each component, ``row * cols + col``, ``(n,)``; ascending.
    """

    inside: Joined
    shape: tuple[int, int]
    connectivity: Literal[4, 8]
    window: tuple[int, int]
    numbers: NDArray[np.int64]
    n: int
    kinds: NDArray[np.int64]
    firsts: NDArray[np.int64]

    def windows(self) -> Iterator[tuple[Box, Labels]]:
        """Yield windows in row-major order with the component of each pixel, 0 outside."""
        known = 0
        for box, labels, count in _labelled(self.inside, self.shape, self.connectivity, self.window):
            table = np.concatenate([np.zeros(1, np.int64), self.numbers[known + 1 : known + count + 1]])
            known += count
            yield box, table[labels]

    def only(self, keep: NDArray[np.bool_]) -> Components:
        """Return the components where ``keep`` (one per component) holds, numbered anew in the same order."""
        renumbered = np.concatenate([[0], np.where(keep, np.cumsum(keep), 0)]).astype(np.int64)
        return replace(
            self,
            numbers=renumbered[self.numbers],
            n=int(keep.sum()),
            kinds=self.kinds[keep],
            firsts=self.firsts[keep],
        )


def join(
    inside: Joined, shape: tuple[int, int], connectivity: Literal[4, 8] = 8, window: tuple[int, int] = WINDOW
) -> Components:
    """Find the connected areas of a raster window by window.

    Args:
        inside: Reads a window ``(rows, cols)`` as bool; or as numbers, where 0 is outside and areas of different
            numbers are never joined.
        shape: Rows and columns.
        connectivity: Neighbours of a pixel that belong to it: 4, or 8 with those at its corners.
        window: Rows and columns that are in memory at a time; changes nothing else.
    """
    seams = _Seams(shape[1], connectivity == 8)
    firsts: list[Labels] = [np.zeros(1, np.int64)]
    kinds: list[Labels] = [np.zeros(1, np.int64)]
    known = 0
    for box, labels, count in _labelled(inside, shape, connectivity=connectivity, window=window, kinds=kinds):
        seams.add(box, np.where(labels > 0, labels.astype(np.int64) + known, 0))
        firsts.append(_first_pixels(labels, count, box, shape[1]))
        known += count
    kind = np.concatenate(kinds)
    links = seams.links()
    numbers, first = _numbered(np.concatenate(firsts), links[:, kind[links[0]] == kind[links[1]]])
    of_component = np.zeros(len(first) + 1, np.int64)
    of_component[numbers] = kind
    return Components(
        inside=inside,
        shape=shape,
        connectivity=connectivity,
        window=window,
        numbers=numbers,
        n=len(first),
        kinds=of_component[1:],
        firsts=first,
    )


def _labelled(
    inside: Joined,
    shape: tuple[int, int],
    connectivity: Literal[4, 8],
    window: tuple[int, int],
    kinds: list[Labels] | None = None,
) -> Iterator[tuple[Box, NDArray[np.int32], int]]:
    """Yield the labels of every window, and put the number that the pixels of each label hold at the end of a list."""
    for box in split(shape, window):
        values = inside(box)
        labels: NDArray[Any]
        if values.dtype == np.bool_:
            labels, count = ndimage.label(values, structure=_STRUCTURES[connectivity])
        else:
            labels, count = cc3d.connected_components(values, connectivity=connectivity, return_N=True)
            labels = labels.reshape(values.shape)
        if kinds is not None:
            held = np.zeros(int(count) + 1, np.int64)
            held[labels.ravel()] = values.ravel()
            kinds.append(held[1:])
        yield box, labels.astype(np.int32, copy=False), int(count)


def _first_pixels(labels: NDArray[np.int32], count: int, box: Box, cols: int) -> Labels:
    first = np.full(count + 1, np.iinfo(np.int64).max)
    places = np.flatnonzero(labels)
    rows, columns = np.divmod(places, labels.shape[1])
    np.minimum.at(first, labels.ravel()[places], (rows + box.start[0]) * cols + columns + box.start[1])
    return first[1:]


class _Seams:
    """Pairs of labels that touch across the edges of windows that come in row-major order."""

    def __init__(self, cols: int, corners: bool) -> None:
        self._corners = corners
        self._above = np.zeros(cols, np.int64)
        self._below = np.zeros(cols, np.int64)
        self._left = np.zeros(0, np.int64)
        self._pairs: list[Labels] = []

    def add(self, box: Box, labels: Labels) -> None:
        if box.start[1] == 0:
            self._above, self._below = self._below, np.zeros_like(self._below)
        else:
            self._link(self._left, labels[:, 0])
        first, last = box.start[1], box.stop[1]
        # One column more at each side: corners meet across the seams of both directions.
        wide = slice(max(0, first - 1), last + 1)
        padded = np.zeros(len(self._above[wide]), np.int64)
        padded[first - wide.start : last - wide.start] = labels[0]
        self._link(self._above[wide], padded)
        self._left = labels[:, -1]
        self._below[first:last] = labels[-1]

    def _link(self, one: Labels, other: Labels) -> None:
        pairs = [(one, other)]
        if self._corners:
            pairs += [(one[:-1], other[1:]), (one[1:], other[:-1])]
        for a, b in pairs:
            touching = (a > 0) & (b > 0)
            self._pairs.append(np.unique(np.stack([a[touching], b[touching]]), axis=1))

    def links(self) -> Labels:
        return np.concatenate(self._pairs, axis=1) if self._pairs else np.zeros((2, 0), np.int64)


def _numbered(firsts: Labels, links: Labels) -> tuple[Labels, Labels]:
    """Return the component of every label, components in the order of their first pixels, and these."""
    if len(firsts) == 1:
        return np.zeros(1, np.int64), np.zeros(0, np.int64)
    ones = np.ones(links.shape[1], np.int8)
    graph = coo_array((ones, (links[0] - 1, links[1] - 1)), shape=(len(firsts) - 1,) * 2)
    n, group = connected_components(graph, directed=False)
    first = np.full(n, np.iinfo(np.int64).max)
    np.minimum.at(first, group, firsts[1:])
    rank = np.empty(n, np.int64)
    order = np.argsort(first)
    rank[order] = np.arange(1, n + 1)
    return np.concatenate([np.zeros(1, np.int64), rank[group]]), first[order]
