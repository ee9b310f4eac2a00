"""Panoptic quality of masks whose objects have ids: segments of things and stuff, matched one to one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.answers.metrics.objects import Ints, TooManyObjectsError
from tasks.answers.metrics.pair import Labels, MaskPair, Window, slabs
from tasks.answers.metrics.score import Score, Scores, missing, ratio

PANOPTIC_KEYS = ("panoptic_pq[iou>0.5]", "panoptic_sq[iou>0.5]", "panoptic_rq[iou>0.5]")
# Pairs of segments that meet; more would need more than about 1 GB.
MOST_MEETINGS = 8_000_000
_NO_SEGMENT = "neither mask has a segment of the class"
_NO_MATCH = "no segment is matched"
# A segment is its class times this, plus its id.
_IDS = 1 << 32
_UNSEEN, _NOTHING = -2, -1


@dataclass(frozen=True, kw_only=True)
class PanopticCounts:
    """One class of one pair.

    Attributes:
        label: Its number.
        is_thing: Whether a pixel of it has an id in either mask.
        n_matched: Pairs of segments whose IoU exceeds 0.5: TP.
        n_invented: Segments of the prediction alone: FP.
        n_missed: Segments of the reference alone: FN.
        sum_iou: Over matched pairs.
    """

    label: int
    is_thing: bool
    n_matched: int
    n_invented: int
    n_missed: int
    sum_iou: float

    @property
    def scores(self) -> Scores:
        """PQ, SQ and RQ by key."""
        weight = self.n_matched + (self.n_invented + self.n_missed) / 2
        if not weight:
            return missing(PANOPTIC_KEYS, _NO_SEGMENT)
        quality = Score(self.sum_iou / weight)
        segmentation = ratio(self.sum_iou, self.n_matched, _NO_MATCH)
        return dict(zip(PANOPTIC_KEYS, (quality, segmentation, Score(self.n_matched / weight)), strict=True))


def count_panoptic(
    pair: MaskPair, read_ids: Callable[[Any], tuple[Labels, Labels]], background: int | None
) -> dict[int, PanopticCounts]:
    """Match segments and count them, slab by slab (Kirillov et al. 2019, CVPR, section 4.1).

    A segment is what one mask gives one id of one class; of a class without ids, all its pixels. Segments of one class
    match where their IoU exceeds 0.5, which is unique. Pixels that the reference leaves open are taken off the
    prediction's segments, and the other way round; a segment of which more than half is taken off counts neither as
    invented nor as missed. Pixels of a thing without an id are a crowd in the reference: a predicted segment that
    lies in crowds of its class and in the open by more than half is not invented. In the prediction they are nothing.

    Args:
        pair: Class numbers.
        read_ids: Reads the ids of a window in prediction and reference, 0 for none.
        background: The class that is no segment; None where there is none.

    Returns:
        By class number, for every class with a segment in either mask.

    Raises:
        TooManyObjectsError: When more than ``MOST_MEETINGS`` pairs of segments meet.
    """
    meetings = _Meetings()
    for slab in slabs(pair.shape):
        box = slab.box(pair.shape)
        window, (ours, theirs) = pair.read(box), read_ids(box)
        seen, also = _seen(window)
        meetings.add(
            _segments(window.predicted, ours, seen, background), _segments(window.reference, theirs, also, background)
        )
    return _counted(*meetings.all())


def panoptic_means(found: Iterable[PanopticCounts], *, things: bool | None = None) -> Scores:
    """Return the mean of every score over classes that have it: all, or things or stuff alone."""
    chosen = [one.scores for one in found if things is None or one.is_thing == things]
    means = {}
    for key in PANOPTIC_KEYS:
        values = [scores[key].value for scores in chosen]
        known = [value for value in values if value is not None]
        means[key] = ratio(math.fsum(known), len(known), "no class has a number")
    return means


def _seen(window: Window) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    ours = window.observed if window.predicted_seen is None else window.predicted_seen
    return ours, window.observed if window.reference_seen is None else window.reference_seen


def _segments(labels: Labels, ids: Labels, seen: NDArray[np.bool_], background: int | None) -> Ints:
    segments: Ints = labels.astype(np.int64) * _IDS + ids.astype(np.int64)
    if background is not None:
        segments[labels == background] = _NOTHING
    segments[~seen] = _UNSEEN
    return segments


@dataclass
class _Meetings:
    """How many pixels every segment of the prediction shares with every segment of the reference."""

    _parts: list[Ints] = field(default_factory=list)
    _held: int = 0

    def add(self, ours: Ints, theirs: Ints) -> None:
        (mine, my_place), (other, other_place) = (
            np.unique(segments, return_inverse=True) for segments in (ours.ravel(), theirs.ravel())
        )
        codes, counts = np.unique(my_place * len(other) + other_place, return_counts=True)
        a, b = np.divmod(codes, len(other))
        self._parts.append(np.stack([mine[a], other[b], counts]))
        self._held += len(codes)
        if self._held > MOST_MEETINGS:
            self._parts = [_merged(np.concatenate(self._parts, axis=1))]
            self._held = self._parts[0].shape[1]
        if self._held > MOST_MEETINGS:
            raise TooManyObjectsError(f"more than {MOST_MEETINGS:,} pairs of segments meet")

    def all(self) -> tuple[Ints, Ints, Ints]:
        ours, theirs, pixels = _merged(np.concatenate([np.zeros((3, 0), np.int64), *self._parts], axis=1))
        return ours, theirs, pixels


def _merged(meetings: Ints) -> Ints:
    pairs, place = np.unique(meetings[:2], axis=1, return_inverse=True)
    sums = np.bincount(place.ravel(), weights=meetings[2], minlength=pairs.shape[1]).astype(np.int64)
    return np.concatenate([pairs, sums[np.newaxis]])


def _counted(ours: Ints, theirs: Ints, pixels: Ints) -> dict[int, PanopticCounts]:
    things = _things(ours, theirs)
    mine, other = _Side.of(ours, theirs, pixels), _Side.of(theirs, ours, pixels)
    ours_named, theirs_named = (segments >= 0 for segments in (ours, theirs))
    same = ours_named & theirs_named & (ours // _IDS == theirs // _IDS)
    crowds = same & (theirs % _IDS == 0) & np.isin(theirs // _IDS, things)
    mine.excuse(ours[crowds], pixels[crowds])
    mine.leave_out(things)
    other.leave_out(things)
    meet = same & mine.has(ours) & other.has(theirs)
    together = mine.area(ours[meet]) + other.area(theirs[meet]) - pixels[meet]
    iou = pixels[meet] / together
    matched = iou > 0.5
    pairs = ours[meet][matched], theirs[meet][matched]
    invented, missed = mine.alone(pairs[0]), other.alone(pairs[1])
    labels = np.unique(np.concatenate([mine.segments, other.segments]) // _IDS)
    return {
        label: PanopticCounts(
            label=label,
            is_thing=label in things,
            n_matched=int((pairs[0] // _IDS == label).sum()),
            n_invented=int((invented // _IDS == label).sum()),
            n_missed=int((missed // _IDS == label).sum()),
            sum_iou=math.fsum(iou[matched][pairs[0] // _IDS == label].tolist()),
        )
        for label in labels.tolist()
    }


def _things(ours: Ints, theirs: Ints) -> list[int]:
    segments = np.concatenate([ours, theirs])
    found: list[int] = np.unique(segments[(segments >= 0) & (segments % _IDS > 0)] // _IDS).tolist()
    return found


@dataclass
class _Side:
    """The segments of one mask: what the other mask answers for of each, and what speaks for one that is alone."""

    segments: Ints
    areas: Ints
    excused: Ints
    open: Ints

    @classmethod
    def of(cls, own: Ints, facing: Ints, pixels: Ints) -> _Side:
        segments, place = np.unique(own[own >= 0], return_inverse=True)
        unseen = facing[own >= 0] == _UNSEEN
        areas, opened = (
            np.bincount(place, weights=np.where(chosen, pixels[own >= 0], 0), minlength=len(segments)).astype(np.int64)
            for chosen in (~unseen, unseen)
        )
        return cls(segments, areas, opened.copy(), opened)

    def excuse(self, own: Ints, pixels: Ints) -> None:
        np.add.at(self.excused, np.searchsorted(self.segments, own), pixels)

    def leave_out(self, things: list[int]) -> None:
        """Leave out pixels of things without an id."""
        kept = (self.segments % _IDS > 0) | ~np.isin(self.segments // _IDS, things)
        self.segments, self.areas = self.segments[kept], self.areas[kept]
        self.excused, self.open = self.excused[kept], self.open[kept]

    def has(self, own: Ints) -> NDArray[np.bool_]:
        return np.isin(own, self.segments)

    def area(self, own: Ints) -> Ints:
        found: Ints = self.areas[np.searchsorted(self.segments, own)]
        return found

    def alone(self, matched: Ints) -> Ints:
        """Return the segments that nothing matches and nothing excuses."""
        counts = 2 * self.excused <= self.areas + self.open
        found: Ints = self.segments[~np.isin(self.segments, matched) & counts]
        return found
