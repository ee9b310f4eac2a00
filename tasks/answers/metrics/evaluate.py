"""All metrics of one pair of masks, and what many pairs have in common."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tasks.answers.metrics.lesionwise import RULES, Challenge, lesion_scores
from tasks.answers.metrics.objects import Connectivity, TooManyObjectsError, object_scores
from tasks.answers.metrics.overlap import Confusion, accuracy, count_confusion, overlap_scores
from tasks.answers.metrics.pair import MaskPair
from tasks.answers.metrics.panoptic import PANOPTIC_KEYS, PanopticCounts, count_panoptic, panoptic_means
from tasks.answers.metrics.score import BOTH_EMPTY, Score, Scores, as_json, missing
from tasks.answers.metrics.surface import Tolerance, surface_scores

# Over which classes panoptic quality is averaged.
PANOPTIC_PARTS = {"all": None, "things": True, "stuff": False}


@dataclass(frozen=True)
class MetricSettings:
    """What metrics are taken with.

    Attributes:
        tolerance: Of NSD and boundary F.
        connectivity: Of objects.
        background: The class that has no objects, no boundary and no part in means; None where there is none.
        challenge: Whose rules lesions are counted by; None to leave them out.
    """

    tolerance: Tolerance
    connectivity: Connectivity
    background: int | None
    challenge: Challenge | None


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """One class of one pair.

    Attributes:
        label: Its number.
        name: Its name, where a mask gives one.
        n_predicted: Its observed pixels in the prediction.
        n_reference: Its observed pixels in the reference.
        scores: By key; the background has those of overlap alone.
    """

    label: int
    name: str
    n_predicted: int
    n_reference: int
    scores: Scores


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One pair, measured.

    Attributes:
        id: Of the pair.
        shape: ``rows, cols`` or ``depth, rows, cols``.
        confusion: Counts.
        classes: In the order of their numbers.
        background: As in the settings.
        notes: What a reader has to know.
        panoptic: Matched segments by class; None where a mask has no ids of objects.
    """

    id: str
    shape: tuple[int, ...]
    confusion: Confusion
    classes: tuple[ClassScores, ...]
    background: int | None
    notes: tuple[str, ...] = ()
    panoptic: dict[int, PanopticCounts] | None = None

    @property
    def accuracy(self) -> Score:
        """Share of observed pixels of one class in both masks."""
        return accuracy(self.confusion)

    @property
    def foreground(self) -> tuple[ClassScores, ...]:
        """All classes but the background."""
        return tuple(found for found in self.classes if found.label != self.background)

    @property
    def means(self) -> dict[str, Statistics]:
        """Of every metric over the classes but the background."""
        keys = dict.fromkeys(key for found in self.foreground for key in found.scores)
        return {key: statistics(found.scores[key] for found in self.foreground) for key in keys}


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """What several scores have in common; those without a number are counted, not averaged.

    Attributes:
        n: How many are numbers.
        n_missing: How many are not.
        mean: None where none is a number.
        std: Of a sample (n - 1); None for fewer than two.
        median: None where none is a number.
    """

    n: int
    n_missing: int
    mean: float | None
    std: float | None
    median: float | None


def evaluate(pair: MaskPair, settings: MetricSettings) -> Evaluation:
    """Measure one pair.

    Classes are those of either mask and those that a mask names. Memory is bounded for rasters of any size; what
    would not fit has no number and a reason.
    """
    confusion = count_confusion(pair)
    labels = sorted(set(confusion.classes) | set(pair.names))
    segments, reason = _panoptic(pair, settings)
    classes = []
    for label in labels:
        found = _class_scores(pair, label, confusion, settings)
        if pair.ids is not None and label != settings.background:
            counts = None if segments is None else segments.get(label)
            more = missing(PANOPTIC_KEYS, reason) if counts is None else counts.scores
            found = replace(found, scores=found.scores | more)
        classes.append(found)
    return Evaluation(
        id=pair.id,
        shape=pair.shape,
        confusion=confusion,
        classes=tuple(classes),
        background=settings.background,
        notes=pair.notes,
        panoptic=segments,
    )


def _panoptic(pair: MaskPair, settings: MetricSettings) -> tuple[dict[int, PanopticCounts] | None, str]:
    """Match segments where both masks have ids; else, or where there are too many, say why not."""
    if pair.ids is None:
        return None, ""
    try:
        return count_panoptic(pair, pair.ids, settings.background), BOTH_EMPTY
    except TooManyObjectsError as error:
        return None, str(error)


def statistics(scores: Iterable[Score]) -> Statistics:
    """Return count, mean, standard deviation and median of those scores that are numbers."""
    found = list(scores)
    values = [score.value for score in found if score.value is not None]
    n_missing = len(found) - len(values)
    if not values:
        return Statistics(n=0, n_missing=n_missing, mean=None, std=None, median=None)
    mean = math.fsum(values) / len(values)
    spread = math.fsum((value - mean) ** 2 for value in values)
    std = math.sqrt(spread / (len(values) - 1)) if len(values) > 1 else None
    return Statistics(n=len(values), n_missing=n_missing, mean=mean, std=std, median=float(np.median(values)))


def summarise(evaluations: Sequence[Evaluation]) -> dict[int, dict[str, Statistics]]:
    """Return statistics over pairs of every metric of every class but the background."""
    found: dict[int, dict[str, list[Score]]] = {}
    for one in evaluations:
        for entry in one.foreground:
            for key, score in entry.scores.items():
                found.setdefault(entry.label, {}).setdefault(key, []).append(score)
    return {
        label: {key: statistics(scores) for key, scores in by_key.items()} for label, by_key in sorted(found.items())
    }


def evaluation_json(one: Evaluation) -> dict[str, Any]:
    """Return everything about a pair as JSON can say it."""
    return {
        "id": one.id,
        "shape": list(one.shape),
        "n_observed": one.confusion.n_observed,
        "n_not_observed": one.confusion.n_not_observed,
        "notes": list(one.notes),
        "accuracy": one.accuracy.value,
        "confusion": {
            "classes": list(one.confusion.classes),
            "reference_down_prediction_across": one.confusion.counts.tolist(),
        },
        "means": {key: statistics_json(value) for key, value in one.means.items()},
        "panoptic": None if one.panoptic is None else _panoptic_json(one.panoptic),
        "classes": [
            {
                "label": entry.label,
                "name": entry.name,
                "is_background": entry.label == one.background,
                "n_predicted": entry.n_predicted,
                "n_reference": entry.n_reference,
                "scores": as_json(entry.scores),
            }
            for entry in one.classes
        ],
    }


def _panoptic_json(found: dict[int, PanopticCounts]) -> dict[str, Any]:
    return {
        "means": {
            name: as_json(panoptic_means(found.values(), things=things)) for name, things in PANOPTIC_PARTS.items()
        },
        "classes": {
            str(label): {
                "is_thing": one.is_thing,
                "n_matched": one.n_matched,
                "n_invented": one.n_invented,
                "n_missed": one.n_missed,
            }
            for label, one in found.items()
        },
    }


def statistics_json(found: Statistics) -> dict[str, float | int | None]:
    """Return statistics as JSON can say them."""
    return {
        "n": found.n,
        "n_missing": found.n_missing,
        "mean": found.mean,
        "std": found.std,
        "median": found.median,
    }


def _class_scores(pair: MaskPair, label: int, confusion: Confusion, settings: MetricSettings) -> ClassScores:
    n_predicted, n_reference, n_both = confusion.of_class(label)
    scores = overlap_scores(n_predicted, n_reference, n_both)
    if label != settings.background:
        scores |= surface_scores(pair, label, settings.tolerance)
        scores |= object_scores(pair, label, settings.connectivity)
        if settings.challenge is not None:
            scores |= lesion_scores(pair, label, RULES[settings.challenge])
    return ClassScores(
        label=label,
        name=pair.names.get(label, f"class {label}"),
        n_predicted=n_predicted,
        n_reference=n_reference,
        scores=scores,
    )
