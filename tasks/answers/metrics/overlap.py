"""Metrics of overlap: what follows from the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.answers.metrics.pair import Labels, MaskPair, slabs
from tasks.answers.metrics.score import BOTH_EMPTY, NOT_IN_REFERENCE, NOT_PREDICTED, Score, Scores, ratio
from tasks.errors import UnsupportedSceneError

# More are a picture, not a class map; the matrix of 1,000 classes has 8 MB.
MOST_CLASSES = 1000
_MOST_BINS = 1 << 20


@dataclass(frozen=True)
class Confusion:
    """How many pixels of each reference class the prediction gives to each class.

    Attributes:
        classes: Numbers of the classes, ascending.
        counts: Int64 ``(classes, classes)``: reference down, prediction across.
        n_not_observed: Pixels that one of the masks leaves open; they are in no count.
    """

    classes: tuple[int, ...]
    counts: NDArray[np.int64]
    n_not_observed: int

    @property
    def n_observed(self) -> int:
        """Pixels that both masks answer for."""
        return int(self.counts.sum())

    def of_class(self, label: int) -> tuple[int, int, int]:
        """Return the pixels of a class in the prediction, in the reference and in both; 0 for an unknown class."""
        if label not in self.classes:
            return 0, 0, 0
        place = self.classes.index(label)
        return (
            int(self.counts[:, place].sum()),
            int(self.counts[place].sum()),
            int(self.counts[place, place]),
        )


def count_confusion(pair: MaskPair) -> Confusion:
    """Count both masks against each other, slab by slab.

    Raises:
        UnsupportedSceneError: When they hold more than ``MOST_CLASSES`` different numbers.
    """
    totals: dict[tuple[int, int], int] = {}
    n_not_observed = 0
    for slab in slabs(pair.shape):
        window = pair.read(slab.box(pair.shape))
        n_not_observed += window.observed.size - int(np.count_nonzero(window.observed))
        found = _pairs(window.reference[window.observed], window.predicted[window.observed])
        for key, count in found.items():
            totals[key] = totals.get(key, 0) + count
        if len({label for key in totals for label in key}) > MOST_CLASSES:
            raise UnsupportedSceneError(
                f"{pair.id}: the masks hold more than {MOST_CLASSES:,} different numbers. Give class maps, not "
                "pictures, scores or numbered objects"
            )
    classes = sorted({label for key in totals for label in key})
    place = {label: index for index, label in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), np.int64)
    for (reference, predicted), count in totals.items():
        counts[place[reference], place[predicted]] = count
    return Confusion(tuple(classes), counts, n_not_observed)


def pooled(parts: Sequence[Confusion]) -> Confusion:
    """Return the counts of several pairs together."""
    classes = tuple(sorted({label for part in parts for label in part.classes}))
    counts = np.zeros((len(classes), len(classes)), np.int64)
    for part in parts:
        places = [classes.index(label) for label in part.classes]
        counts[np.ix_(places, places)] += part.counts
    return Confusion(classes, counts, sum(part.n_not_observed for part in parts))


def overlap_scores(n_predicted: int, n_reference: int, n_both: int) -> Scores:
    """Return Dice, IoU, precision and recall of one class.

    ``2 TP / (2 TP + FP + FN)``, ``TP / (TP + FP + FN)``, ``TP / (TP + FP)``, ``TP / (TP + FN)``. Without the class in
    either mask none is defined; precision is not without a prediction, nor recall without a reference.
    """
    together = n_predicted + n_reference
    return {
        "dice": ratio(2 * n_both, together, BOTH_EMPTY),
        "iou": ratio(n_both, together - n_both, BOTH_EMPTY),
        "precision": ratio(n_both, n_predicted, NOT_PREDICTED if n_reference else BOTH_EMPTY),
        "recall": ratio(n_both, n_reference, NOT_IN_REFERENCE if n_predicted else BOTH_EMPTY),
    }


def accuracy(confusion: Confusion) -> Score:
    """Return the share of observed pixels that both masks give the same class."""
    return ratio(int(np.trace(confusion.counts)), confusion.n_observed, "no pixel is observed in both masks")


def dice(
    predicted: NDArray[np.integer[Any]], reference: NDArray[np.integer[Any]], label: int, not_observed: int = 255
) -> float:
    """Return ``2 |A and B| / (|A| + |B|)`` of one class over the pixels that both masks observed.

    NaN where neither mask holds the class.

    Args:
        predicted: Class numbers.
        reference: Class numbers of the same shape; negative ones are left out.
        label: The class.
        not_observed: Value of the prediction that is left out.
    """
    observed = (predicted != not_observed) & (reference >= 0)
    ours, theirs = (predicted == label) & observed, (reference == label) & observed
    total = int(ours.sum()) + int(theirs.sum())
    return 2 * int((ours & theirs).sum()) / total if total else float("nan")


def _pairs(reference: Labels, predicted: Labels) -> dict[tuple[int, int], int]:
    if reference.size == 0:
        return {}
    base = 1 + max(int(reference.max()), int(predicted.max()))
    codes = reference.astype(np.int64) * base + predicted
    if base * base <= _MOST_BINS:
        counts = np.bincount(codes.ravel(), minlength=base * base)
        present = np.flatnonzero(counts)
        counts = counts[present]
    else:
        present, counts = np.unique(codes, return_counts=True)
    return {divmod(code, base): count for code, count in zip(present.tolist(), counts.tolist(), strict=True)}
