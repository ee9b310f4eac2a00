"""Objects of a class in two masks, matched one to one: object F1 and panoptic quality."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tasks.answers.metrics.pair import MaskPair, Slab, slabs
from tasks.answers.metrics.score import BOTH_EMPTY, Score, Scores, missing, ratio

# What joins the pixels of an object: 4 and 8 in rasters, 6, 18 and 26 in volumes.
Connectivity: TypeAlias = Literal[4, 8, 6, 18, 26]
Ints: TypeAlias = NDArray[np.int64]

# Parts of objects in all slabs of one mask; more is noise, and would need more than about 1 GB.
MOST_PARTS = 4_000_000
_KEYS = ("object_f1", "object_precision", "object_recall")
_PANOPTIC_KEYS = ("pq", "sq", "rq")


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Objects of one class in both masks.

    Attributes:
        predicted_sizes: Int64 ``(n,)``, pixels of every predicted object.
        reference_sizes: Int64 ``(m,)``, pixels of every object of the reference.
        predicted: Int64 ``(k,)``: object of the prediction in every pair that overlaps.
        reference: Int64 ``(k,)``: object of the reference in that pair.
        overlaps: Int64 ``(k,)``: pixels that they share.
    """

    predicted_sizes: Ints
    reference_sizes: Ints
    predicted: Ints
    reference: Ints
    overlaps: Ints

    @property
    def ious(self) -> NDArray[np.float64]:
        """Intersection over union of every pair that overlaps."""
        together = self.predicted_sizes[self.predicted] + self.reference_sizes[self.reference] - self.overlaps
        return np.asarray(self.overlaps / together, np.float64)


def _n_matched(found: Matches, is_match: NDArray[np.bool_]) -> int:
    """Count pairs one to one: at exactly 0.5 two objects may share a third, which counts once."""
    _, first = np.unique(found.predicted[is_match], return_index=True)
    return int(np.unique(found.reference[is_match][first]).size)


class TooManyObjectsError(ValueError):
    """A mask falls into more parts than are matched in memory."""


def object_scores(pair: MaskPair, label: int, connectivity: Connectivity, most_parts: int = MOST_PARTS) -> Scores:
    """Return object F1 with precision and recall at IoU >= 0.5, and PQ, SQ and RQ at IoU > 0.5.

    ``PQ = SQ RQ``, ``SQ`` the mean IoU of matched pairs, ``RQ = TP / (TP + FP / 2 + FN / 2)`` (Kirillov et al. 2019,
    CVPR, section 4.1). Objects do not overlap, so above 0.5 a pair is unique; at exactly 0.5 an object of the
    reference that two predictions share in halves is matched to one of them.

    Args:
        pair: Two masks; pixels that one of them leaves open belong to no object.
        label: The class.
        connectivity: What joins pixels to an object.
        most_parts: Of one mask; above, nothing is computed and the reason says so.
    """
    names = [f"{key}[iou>=0.5, {connectivity}-connected]" for key in _KEYS]
    panoptic = [f"{key}[iou>0.5, {connectivity}-connected]" for key in _PANOPTIC_KEYS]
    try:
        found = match_objects(pair, label, connectivity, most_parts)
    except TooManyObjectsError as error:
        return missing((*names, *panoptic), str(error))
    n_predicted, n_reference = found.predicted_sizes.size, found.reference_sizes.size
    if not n_predicted and not n_reference:
        return missing((*names, *panoptic), BOTH_EMPTY)
    ious = found.ious
    n_true = _n_matched(found, ious >= 0.5)
    f1 = Score(2 * n_true / (n_predicted + n_reference))
    precision = ratio(n_true, n_predicted, "no object is predicted")
    recall = ratio(n_true, n_reference, "the reference has no object")
    matched = ious[ious > 0.5]
    rq = 2 * matched.size / (n_predicted + n_reference)
    sq = ratio(math.fsum(matched.tolist()), matched.size, "no object is matched")
    pq = Score(rq * (sq.value or 0.0))
    return dict(zip((*names, *panoptic), (f1, precision, recall, pq, sq, Score(rq)), strict=True))


def match_objects(pair: MaskPair, label: int, connectivity: Connectivity, most_parts: int = MOST_PARTS) -> Matches:
    """Label the objects of a class in both masks and count what they share, slab by slab.

    Parts of an object in neighbouring slabs are joined through the plane that both slabs see.

    Raises:
        TooManyObjectsError: When a mask has more than ``most_parts`` parts.
    """
    predicted, reference = _Joiner(connectivity, most_parts), _Joiner(connectivity, most_parts)
    shared = []
    for slab in slabs(pair.shape):
        ours, theirs = (
            joiner.label(inside, slab)
            for joiner, inside in zip((predicted, reference), _inside(pair, slab, label), strict=True)
        )
        shared.append(_count_pairs(ours, theirs))
    whole_predicted, whole_reference = predicted.wholes(), reference.wholes()
    parts = np.concatenate(shared, axis=1) if shared else np.zeros((3, 0), np.int64)
    pairs, overlaps = _summed(whole_predicted.of_part[parts[0]], whole_reference.of_part[parts[1]], parts[2])
    return Matches(
        predicted_sizes=whole_predicted.sizes,
        reference_sizes=whole_reference.sizes,
        predicted=pairs[0],
        reference=pairs[1],
        overlaps=overlaps,
    )


def _inside(pair: MaskPair, slab: Slab, label: int) -> Iterator[NDArray[np.bool_]]:
    window = pair.read(slab.box(pair.shape, before=1))
    for mask in (window.predicted, window.reference):
        yield (mask == label) & window.observed


@dataclass(frozen=True)
class _Wholes:
    """Objects put together: the object of every part, and the pixels of every object."""

    of_part: Ints
    sizes: Ints


class _Joiner:
    """Labels one mask slab by slab and remembers which parts are one object."""

    def __init__(self, connectivity: Connectivity, most_parts: int) -> None:
        self._connectivity = connectivity
        self._most = most_parts
        self._sizes: list[Ints] = []
        self._joins: list[Ints] = []
        self._n_parts = 0
        self._last: Ints | None = None

    def label(self, inside: NDArray[np.bool_], slab: Slab) -> Ints:
        """Return the part of every pixel of the slab, from 1 over all slabs; 0 is outside.

        Args:
            inside: The slab, with one plane before it unless it is the first.
            slab: Where it lies.
        """
        # As integers: cc3d's shortcut for binary images makes its tables too small for a window one voxel thick.
        found = cc3d.connected_components(inside.view(np.uint8), connectivity=self._connectivity)
        numbered: Ints = found.reshape(inside.shape).astype(np.int64)
        n_found = int(numbered.max(initial=0))
        numbered[numbered > 0] += self._n_parts
        if self._last is not None:
            seen = numbered[0] > 0
            self._joins.append(np.unique(np.stack([self._last[seen], numbered[0][seen]]), axis=1))
            numbered = numbered[1:]
        self._sizes.append(np.bincount(numbered[numbered > 0] - self._n_parts - 1, minlength=n_found))
        self._n_parts += n_found
        if self._n_parts > self._most:
            raise TooManyObjectsError(f"a mask falls into more than {self._most:,} parts of objects")
        self._last = None if slab.is_last else numbered[-1].copy()
        return numbered

    def wholes(self) -> _Wholes:
        """Put the parts together."""
        edges = np.concatenate([np.zeros((2, 0), np.int64), *self._joins], axis=1)
        n_nodes = self._n_parts + 1
        graph = coo_array((np.ones(edges.shape[1], np.int8), (edges[0], edges[1])), shape=(n_nodes, n_nodes))
        _, found = connected_components(graph, directed=False)
        # Outside is a node of its own, the first: objects count from 0.
        of_part: Ints = found.astype(np.int64) - 1
        sizes = np.concatenate([np.zeros(0, np.int64), *self._sizes])
        return _Wholes(of_part, np.bincount(of_part[1:], weights=sizes).astype(np.int64))


def _count_pairs(ours: Ints, theirs: Ints) -> Ints:
    """Return parts of the prediction, parts of the reference and the pixels that they share, ``(3, n)``."""
    both = (ours > 0) & (theirs > 0)
    pairs, counts = _summed(ours[both], theirs[both], np.ones(int(np.count_nonzero(both)), np.int64))
    return np.concatenate([pairs, counts[np.newaxis]])


def _summed(ours: Ints, theirs: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """Return the different pairs ``(2, n)``, ascending, and the sum of their counts ``(n,)``."""
    if ours.size == 0:
        return np.zeros((2, 0), np.int64), np.zeros(0, np.int64)
    base = int(theirs.max()) + 1
    codes, places = np.unique(ours * base + theirs, return_inverse=True)
    sums = np.bincount(places, weights=counts).astype(np.int64)
    return np.stack(np.divmod(codes, base)), sums
