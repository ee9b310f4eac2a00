"""Fragments of several tiles that are one object, joined whatever the blocks, the workers and the order.

Two fragments of one class are the same object when they agree on the part of the scene that both their tiles saw: when
there the intersection of the two masks is at least ``agreement`` of their union, or when that holds for one connected
piece of each. The pieces matter where an object leaves a tile and comes back: the tile that sees a horseshoe's arms
alone finds two objects, its neighbour one.

Objects are the groups that such pairs form. A group is kept when one of its fragments has a pixel in the core of its
tile: what only halos show, the neighbours answer for.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tasks.geometry.box import Box
from tasks.segment.fragments import Fragments
from tasks.segment.lattice import Lattice, TileAxis


@dataclass(frozen=True)
class Objects:
    """Whole objects, the most certain first; of two as certain the one that begins first.

    Attributes:
        of_fragment: Number of each fragment's object from 0; -1 where the fragment was let go of.
        labels: Class number of each object.
        scores: Of each object: the best of its fragments.
    """

    of_fragment: NDArray[np.int64]
    labels: NDArray[np.uint16]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)


def join(fragments: Fragments, lattice: Lattice, shape: tuple[int, ...], agreement: float) -> Objects:
    """Join the fragments of a scene.

    Time grows with the number of fragments and of their meetings; memory with a few numbers per fragment.

    Args:
        fragments: Of all tiles.
        lattice: The tiles.
        shape: Of the scene.
        agreement: Intersection over union above which two masks are those of one object, above 0.
    """
    n = len(fragments)
    if n == 0:
        return Objects(np.zeros(0, np.int64), np.zeros(0, np.uint16), np.zeros(0, np.float32))
    pairs = np.array(list(_agreeing(fragments, lattice, shape, agreement)), np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    n_groups, group = connected_components(graph, directed=False)
    return _ranked(fragments.table, group.astype(np.int64), int(n_groups), shape)


def _agreeing(
    fragments: Fragments, lattice: Lattice, shape: tuple[int, ...], agreement: float
) -> Iterator[tuple[int, int]]:
    tiles, near = fragments.by_tile(), [_near(axis) for axis in lattice.axes]
    for index, here in tiles.items():
        window = lattice.tile(index).window
        for other in product(*(ranges[i] for ranges, i in zip(near, index, strict=True))):
            # Each pair of tiles once.
            if other > index and other in tiles:
                shared = window.intersection(lattice.tile(other).window).intersection(Box.of_shape(shape))
                yield from _agreeing_in(fragments, here, there=tiles[other], shared=shared, agreement=agreement)


def _near(axis: TileAxis) -> list[range]:
    """Return, per tile of an axis, the tiles whose windows meet its own."""
    origins = axis.origins
    return [range(bisect_right(origins, o - axis.tile), bisect_left(origins, o + axis.tile)) for o in origins]


def _agreeing_in(
    fragments: Fragments, here: range, there: range, shared: Box, agreement: float
) -> Iterator[tuple[int, int]]:
    """Yield the pairs of fragments of two tiles that agree on what both tiles saw."""
    table = fragments.table
    one, other = _meeting(table, here, shared), _meeting(table, there, shared)
    start = np.maximum(np.maximum(table["start"][one][:, None], table["start"][other][None]), shared.start)
    stop = np.minimum(np.minimum(table["stop"][one][:, None], table["stop"][other][None]), shared.stop)
    candidates = (stop > start).all(2) & (table["label"][one][:, None] == table["label"][other][None])
    for i, j in np.argwhere(candidates).tolist():
        a, b = int(one[i]), int(other[j])
        if _agree(_cut(fragments, a, shared), _cut(fragments, b, shared), agreement):
            yield a, b


def _meeting(table: NDArray[np.void], rows: range, shared: Box) -> NDArray[np.intp]:
    """Return those rows whose boxes meet a window."""
    own = table[rows.start : rows.stop]
    meets = (own["start"] < shared.stop).all(1) & (own["stop"] > shared.start).all(1)
    return np.flatnonzero(meets) + rows.start


def _cut(fragments: Fragments, k: int, shared: Box) -> tuple[Box, NDArray[np.bool_]]:
    box = fragments.box(k)
    part = box.intersection(shared)
    return part, fragments.mask(k)[part.relative_to(box.start).slices]


def _agree(one: tuple[Box, NDArray[np.bool_]], other: tuple[Box, NDArray[np.bool_]], agreement: float) -> bool:
    (box, mask), (other_box, other_mask) = one, other
    common = box.intersection(other_box)
    inside, other_inside = common.relative_to(box.start).slices, common.relative_to(other_box.start).slices
    both = mask[inside] & other_mask[other_inside]
    n_both = int(both.sum())
    if n_both == 0:
        return False
    if n_both >= agreement * (int(mask.sum()) + int(other_mask.sum()) - n_both):
        return True
    structure = np.ones((3,) * mask.ndim, np.bool_)
    (pieces, n), (other_pieces, n_other) = (ndimage.label(m, structure) for m in (mask, other_mask))
    if n == n_other == 1:
        return False
    sizes = np.bincount(pieces.ravel(), minlength=n + 1)
    other_sizes = np.bincount(other_pieces.ravel(), minlength=n_other + 1)
    meetings = np.stack([pieces[inside][both], other_pieces[other_inside][both]])
    (a, b), counts = np.unique(meetings, axis=1, return_counts=True)
    return bool((counts >= agreement * (sizes[a] + other_sizes[b] - counts)).any())


def _ranked(table: NDArray[np.void], group: NDArray[np.int64], n_groups: int, shape: tuple[int, ...]) -> Objects:
    """Leave out what only halos show, and number groups by score, first pixel and first fragment."""
    answered, scores = np.zeros(n_groups, np.bool_), np.zeros(n_groups, np.float32)
    answered[group[table["in_core"]]] = True
    np.maximum.at(scores, group, table["score"])
    first = np.full(n_groups, np.iinfo(np.int64).max)
    pixels = np.ravel_multi_index(tuple(table["first"].T.astype(np.int64)), shape)
    np.minimum.at(first, group, pixels)
    fragment = np.full(n_groups, len(table), np.int64)
    np.minimum.at(fragment, group, np.arange(len(table)))
    order = np.lexsort((fragment, first, -scores))
    order = order[answered[order]]
    numbers = np.full(n_groups, -1, np.int64)
    numbers[order] = np.arange(len(order))
    return Objects(numbers[group], table["label"][fragment[order]].astype(np.uint16), scores[order])
