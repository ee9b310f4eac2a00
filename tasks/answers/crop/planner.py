"""How many reference samples a wanted precision takes, where to put them, and a draw that can be repeated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tasks.answers.area import M2_PER_HA, PixelAreas
from tasks.errors import SampleError
from tasks.geometry.box import Box, split
from tasks.geometry.raster_grid import RasterGrid

Floats = NDArray[np.float64]
Unsigned = NDArray[np.uint64]
Allocation = Literal["minimum", "proportional", "equal", "neyman"]
_WINDOW = (2048, 2048)
_FEWEST = 2
_TOLERANCE = 1e-9
# Steps of the search for the total: a little less than the error asks for, so as not to overshoot.
_CAUTION = 0.98
# Steele, Lea and Flood (2014), Fast splittable pseudorandom number generators: SplitMix64.
_GOLDEN, _FIRST, _SECOND = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


@dataclass(frozen=True)
class SampleSizes:
    """Units per stratum.

    Attributes:
        sizes: Per stratum, in order.
        expected_se: Standard error of the overall accuracy that these sizes give, should the strata be as accurate as
            anticipated.
        optimum: Units that would do with the best allocation (``neyman``).
    """

    sizes: tuple[int, ...]
    expected_se: float
    optimum: int


@dataclass(frozen=True)
class DrawnUnits:
    """Pixels to be interpreted, in an order that tells nothing of their strata.

    Attributes:
        rows: Of each pixel, ``(units,)``.
        cols: Of each pixel.
        strata: Class number in the map.
        inclusion: Probability with which each pixel came into the sample.
    """

    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    strata: NDArray[np.int64]
    inclusion: Floats


def sample_sizes(
    areas_ha: Sequence[float],
    anticipated: Sequence[float],
    target_se: float,
    allocation: Allocation = "minimum",
    smallest: int = 50,
) -> SampleSizes:
    """Return how many units each stratum needs.

    The optimum is ``(sum(W_h S_h) / SE)^2`` with ``S_h = sqrt(U_h (1 - U_h))``: Olofsson et al. (2014), Remote Sensing
    of Environment 148, 42, equation 13, for many pixels. ``minimum`` gives every stratum at least ``smallest`` units
    and shares the rest by area (their section 5.1.2), ``proportional`` shares by area, ``neyman`` by ``W_h S_h``. As
    another allocation than the best needs more units for the same error, the total grows until the wanted error is
    met. No stratum with area gets fewer than two, from which no variance could be told.

    Args:
        areas_ha: Per stratum.
        anticipated: Accuracy that one expects of each stratum, between 0 and 1.
        target_se: Wanted standard error of the overall accuracy, such as 0.01.
        allocation: How the total is shared.
        smallest: Of ``minimum``.

    Raises:
        SampleError: When a number is outside its range.
    """
    accuracy, areas = np.array(anticipated, np.float64), np.array(areas_ha, np.float64)
    if not 0.0 < target_se < 1.0:
        raise SampleError(f"a standard error of {target_se} cannot be aimed at; give one between 0 and 1, such as 0.01")
    if np.any((accuracy < 0.0) | (accuracy > 1.0)):
        raise SampleError("anticipated accuracies are shares between 0 and 1, such as 0.9")
    if not np.sum(areas) > 0.0:
        raise SampleError("the map has no observed pixel to draw samples from")
    weights, spread = areas / np.sum(areas), np.sqrt(accuracy * (1.0 - accuracy))
    # Rounding must not lift a whole number to the next.
    optimum = total = ceil(round(float(np.sum(weights * spread) / target_se) ** 2, 9))
    while True:
        shares = np.maximum(_FEWEST, _shares(total, weights, spread=spread, allocation=allocation, smallest=smallest))
        sizes = np.where(areas > 0, shares, 0)
        expected = float(np.sqrt(np.sum(weights**2 * spread**2 / np.maximum(1, sizes))))
        if expected <= target_se * (1.0 + _TOLERANCE):
            return SampleSizes(tuple(int(size) for size in sizes), expected, optimum)
        total = max(total + 1, ceil(total * (expected / target_se) ** 2 * _CAUTION))


def _shares(total: int, weights: Floats, spread: Floats, allocation: Allocation, smallest: int) -> NDArray[np.int64]:
    present = weights > 0
    if allocation == "minimum":
        small = weights * total < smallest
        left = max(0, total - smallest * int(np.sum(small & present)))
        rest = np.ceil(left * _normed(np.where(small, 0.0, weights)))
        return np.maximum(smallest, rest).astype(np.int64)
    by = {"proportional": weights, "equal": present.astype(np.float64), "neyman": weights * spread}[allocation]
    return np.ceil(np.round(total * _normed(by), 9)).astype(np.int64)


def _normed(weights: Floats) -> Floats:
    total = float(np.sum(weights))
    return weights / total if total > 0 else weights


def draw_units(
    read: Callable[[Box], NDArray[np.unsignedinteger[Any]]], grid: RasterGrid, sizes: Sequence[int], seed: int
) -> DrawnUnits:
    """Draw pixels within each class of a map, at random and in bounded memory.

    Every pixel gets a key from ``seed`` and its place alone, an exponential variate divided by the pixel's area; the
    smallest keys of a stratum are drawn. So the draw does not depend on windows, is simple random sampling where pixels
    have one area, and elsewhere favours large pixels in proportion (Efraimidis and Spirakis 2006, Information
    Processing Letters 97, 181): the mean over the units is then a share of the area, as the estimators take it. A
    stratum with fewer pixels than units is taken whole.

    Args:
        read: Returns the class numbers ``(rows, cols)`` of a window.
        grid: The map's.
        sizes: Units per class; classes with 0 and all beyond are left alone.
        seed: Any whole number; the same seed draws the same pixels.
    """
    kept = [(np.empty(0), np.empty(0, np.int64), np.empty(0)) for _ in sizes]
    totals = np.zeros(len(sizes))
    for box in split(grid.shape, _WINDOW):
        labels, areas = read(box), _areas_ha(grid, box)
        places = np.add.outer(np.arange(box.start[0], box.stop[0]) * grid.cols, np.arange(box.start[1], box.stop[1]))
        for stratum in np.unique(labels[labels < len(sizes)]):
            inside = labels == stratum
            weights, place = areas[inside], places[inside].astype(np.int64)
            totals[stratum] += float(np.sum(weights))
            keys = -np.log(_uniform(place, seed)) / weights
            near = keys <= _limit(keys, sizes[stratum])
            found = (keys[near], place[near], weights[near])
            merged = [np.concatenate(pair) for pair in zip(kept[stratum], found, strict=True)]
            smallest = np.lexsort((merged[1], merged[0]))[: sizes[stratum]]
            kept[stratum] = (merged[0][smallest], merged[1][smallest], merged[2][smallest])
    return _shuffled(kept, totals, grid.cols, seed)


def _limit(keys: Floats, size: int) -> float:
    """Return a key that the ``size`` smallest do not exceed."""
    if size >= len(keys):
        return np.inf
    return float(np.partition(keys, size)[size])


def _shuffled(
    kept: Sequence[tuple[Floats, NDArray[np.int64], Floats]], totals: Floats, n_cols: int, seed: int
) -> DrawnUnits:
    strata = np.concatenate([np.full(len(place), k) for k, (_, place, _) in enumerate(kept)])
    places = np.concatenate([place for _, place, _ in kept])
    inclusion = np.concatenate(
        [
            np.minimum(1.0, len(place) * weights / max(total, np.finfo(float).tiny))
            for (_, place, weights), total in zip(kept, totals, strict=True)
        ]
    )
    order = np.lexsort((places, _uniform(places, ~seed)))
    rows, cols = np.divmod(places[order], n_cols)
    return DrawnUnits(rows, cols, strata[order].astype(np.int64), inclusion[order])


def _areas_ha(grid: RasterGrid, box: Box) -> Floats:
    areas = PixelAreas(grid)
    if areas.reason is not None:
        return np.ones(box.shape)
    return np.broadcast_to(areas.window(box) / M2_PER_HA, box.shape)


def _uniform(place: NDArray[np.int64], seed: int) -> Floats:
    """Return a number in ``(0, 1)`` for each place: SplitMix64 of seed and place."""
    with np.errstate(over="ignore"):
        start = _mixed(np.full(1, seed & 0xFFFFFFFFFFFFFFFF, np.uint64))
        bits = _mixed(start + place.astype(np.uint64) * _GOLDEN)
    uniform: Floats = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
    return uniform


def _mixed(state: Unsigned) -> Unsigned:
    state = state + _GOLDEN
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))
