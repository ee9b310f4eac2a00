"""Distances between the boundaries of two masks, in the conventions of the field's tools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tasks.answers.metrics.boundary import MOST_POINTS, Boundary, TooManyPointsError, boundaries
from tasks.answers.metrics.pair import MaskPair, Steps, step_vectors
from tasks.answers.metrics.score import Score, Scores, missing, ratio
from tasks.answers.metrics.surface_area import element_sizes

Floats: TypeAlias = NDArray[np.float64]
Unit: TypeAlias = Literal["px", "m", "mm"]

NO_BOUNDARY = "neither mask has an observed boundary of the class"
NO_PREDICTED_BOUNDARY = "the prediction has no observed boundary of the class"
NO_REFERENCE_BOUNDARY = "the reference has no observed boundary of the class"
_PERCENT = 95.0
_CHUNK = 1 << 18


@dataclass(frozen=True)
class Tolerance:
    """How far apart two boundaries may lie and still agree.

    Attributes:
        value: In ``unit``.
        unit: ``px`` of a raster, ``m`` on the ground, ``mm`` in a patient.
    """

    value: float
    unit: Unit

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit}"


@dataclass(frozen=True)
class Distances:
    """From every point of each boundary to the nearest of the other, sorted.

    Attributes:
        predicted: Float64, from the prediction to the reference.
        reference: Float64, from the reference to the prediction.
        predicted_sizes: Float64, length or area that each of ``predicted`` stands for.
        reference_sizes: The same for ``reference``.
    """

    predicted: Floats
    reference: Floats
    predicted_sizes: Floats
    reference_sizes: Floats


def surface_scores(pair: MaskPair, label: int, tolerance: Tolerance, most_points: int = MOST_POINTS) -> Scores:
    """Return HD95, mean surface distances, NSD and boundary F of one class.

    Distances in every unit that the pair has; NSD and boundary F at ``tolerance``. Where one mask alone holds the
    class, distances are not defined and the shares are 0; where neither does, nothing is defined. A unit that the
    pair does not have leaves the shares without a number.

    Args:
        pair: Two masks.
        label: The class.
        tolerance: Of the shares.
        most_points: Of one boundary; above, nothing is computed and the reason says so.
    """
    try:
        predicted, reference = boundaries(pair, label, most_points)
    except TooManyPointsError as error:
        return missing(_keys(pair, tolerance), str(error))
    scores: Scores = {}
    for unit, spacing in pair.spacings.items():
        scores |= _distance_scores(_measure(predicted, reference, spacing), unit)
    if tolerance.unit in pair.spacings:
        measured = _measure(predicted, reference, pair.spacings[tolerance.unit])
        return scores | _share_scores(measured, tolerance)
    by_element, by_edge = _share_keys(tolerance)
    return scores | missing((*by_element, *by_edge), f"the masks' grid has no pixel size in {tolerance.unit}")


def element_distances(predicted: Boundary, reference: Boundary, spacing: Steps) -> Distances:
    """Return distances between surface elements with their sizes: the definition of surface-distance."""
    sizes = element_sizes(spacing)
    ours, theirs = predicted.elements, reference.elements
    forth, back = _nearest(ours.places, theirs.places, spacing), _nearest(theirs.places, ours.places, spacing)
    ours_sizes, theirs_sizes = sizes[ours.codes], sizes[theirs.codes]
    forth_order, back_order = np.lexsort((ours_sizes, forth)), np.lexsort((theirs_sizes, back))
    return Distances(forth[forth_order], back[back_order], ours_sizes[forth_order], theirs_sizes[back_order])


def edge_distances(predicted: Boundary, reference: Boundary, spacing: Steps) -> Distances:
    """Return distances between edge pixels, each of size 1: the definition of MONAI, MedPy and panoptica."""
    forth = np.sort(_nearest(predicted.edge, reference.edge, spacing))
    back = np.sort(_nearest(reference.edge, predicted.edge, spacing))
    return Distances(forth, back, np.ones_like(forth), np.ones_like(back))


def hd95_by_area(found: Distances) -> float:
    """Return surface-distance's robust Hausdorff distance.

    In each direction the first distance, by size, at which 95 % of the surface is reached; the larger of the two.
    """
    return max(_reached(found.predicted, found.predicted_sizes), _reached(found.reference, found.reference_sizes))


def _reached(distances: Floats, sizes: Floats) -> float:
    shares = np.cumsum(sizes) / np.sum(sizes)
    return float(distances[min(int(np.searchsorted(shares, _PERCENT / 100.0)), distances.size - 1)])


@dataclass(frozen=True)
class _Measured:
    elements: Distances
    edge: Distances


def _measure(predicted: Boundary, reference: Boundary, spacing: Steps) -> _Measured:
    return _Measured(element_distances(predicted, reference, spacing), edge_distances(predicted, reference, spacing))


def _absence(found: Distances) -> str:
    """Say which boundary is not there; nothing where both are."""
    ours, theirs = found.predicted.size > 0, found.reference.size > 0
    if ours and theirs:
        return ""
    return NO_PREDICTED_BOUNDARY if theirs else NO_REFERENCE_BOUNDARY if ours else NO_BOUNDARY


def _nearest(points: NDArray[np.int32], others: NDArray[np.int32], spacing: Steps) -> Floats:
    if others.shape[0] == 0:
        return np.full(points.shape[0], np.inf)
    vectors = step_vectors(spacing)
    tree = cKDTree(others @ vectors)
    found = np.empty(points.shape[0])
    for start in range(0, points.shape[0], _CHUNK):
        found[start : start + _CHUNK] = tree.query(points[start : start + _CHUNK] @ vectors)[0]
    return found


def _distance_keys(unit: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the keys that come from elements, and those that come from edge pixels."""
    forth = f"asd_{unit}[surface-distance, predicted to reference]"
    back = f"asd_{unit}[surface-distance, reference to predicted]"
    by_edge = (f"hd95_{unit}[monai]", f"hd95_{unit}[medpy]", f"assd_{unit}[monai]", f"assd_{unit}[panoptica]")
    return (f"hd95_{unit}[surface-distance]", forth, back), by_edge


def _share_keys(tolerance: Tolerance) -> tuple[tuple[str, ...], tuple[str, ...]]:
    near = (f"nsd[{convention}, {tolerance}]" for convention in ("monai", "panoptica"))
    boundary = (f"boundary_{name}[{tolerance}]" for name in ("precision", "recall", "f1"))
    return (f"nsd[surface-distance, {tolerance}]",), (*near, *boundary)


def _keys(pair: MaskPair, tolerance: Tolerance) -> tuple[str, ...]:
    groups = [*(_distance_keys(unit) for unit in pair.spacings), _share_keys(tolerance)]
    return tuple(key for by_element, by_edge in groups for key in (*by_element, *by_edge))


def _distance_scores(found: _Measured, unit: str) -> Scores:
    by_element, by_edge = _distance_keys(unit)
    return _filled(by_element, found.elements, _element_means) | _filled(by_edge, found.edge, _edge_means)


def _filled(keys: tuple[str, ...], found: Distances, measure: Callable[[Distances], tuple[float, ...]]) -> Scores:
    reason = _absence(found)
    if reason:
        return missing(keys, reason)
    return {key: Score(value) for key, value in zip(keys, measure(found), strict=True)}


def _element_means(found: Distances) -> tuple[float, ...]:
    forth = float(np.average(found.predicted, weights=found.predicted_sizes))
    back = float(np.average(found.reference, weights=found.reference_sizes))
    return hd95_by_area(found), forth, back


def _edge_means(found: Distances) -> tuple[float, ...]:
    forth, back = found.predicted, found.reference
    pooled = np.concatenate([forth, back])
    larger = max(float(np.percentile(forth, _PERCENT)), float(np.percentile(back, _PERCENT)))
    means = float(forth.mean()), float(back.mean())
    return larger, float(np.percentile(pooled, _PERCENT)), float(pooled.mean()), (means[0] + means[1]) / 2.0


def _share_scores(found: _Measured, tolerance: Tolerance) -> Scores:
    by_element, by_edge = _share_keys(tolerance)
    if not found.elements.predicted.size and not found.elements.reference.size:
        elements = missing(by_element, NO_BOUNDARY)
    else:
        forth, back = _near(found.elements, tolerance.value)
        elements = {by_element[0]: Score((forth.near + back.near) / (forth.whole + back.whole))}
    return elements | _edge_shares(by_edge, found.edge, tolerance)


def _edge_shares(keys: tuple[str, ...], found: Distances, tolerance: Tolerance) -> Scores:
    reason = _absence(found)
    if reason == NO_BOUNDARY:
        return missing(keys, reason)
    forth, back = _near(found, tolerance.value)
    pooled = Score((forth.near + back.near) / (forth.whole + back.whole))
    precision, recall = ratio(forth.near, forth.whole, reason), ratio(back.near, back.whole, reason)
    ours, theirs = precision.value or 0.0, recall.value or 0.0
    f1 = 2.0 * ours * theirs / (ours + theirs) if ours + theirs else 0.0
    values = (pooled, Score((ours + theirs) / 2.0), precision, recall, Score(f1))
    return dict(zip(keys, values, strict=True))


@dataclass(frozen=True)
class _Share:
    near: float
    whole: float


def _near(found: Distances, tolerance: float) -> tuple[_Share, _Share]:
    """Return how much of each boundary lies within the tolerance of the other, and how much there is."""
    directions = ((found.predicted, found.predicted_sizes), (found.reference, found.reference_sizes))
    ours, theirs = (_Share(float(s[d <= tolerance].sum()), float(s.sum())) for d, s in directions)
    return ours, theirs
