"""What is summed over the pixels of each fire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.answers.area import M2_PER_HA, PixelAreas, component_areas_ha
from tasks.answers.components import WINDOW, Components
from tasks.geometry.box import Box, split
from tasks.geometry.raster_grid import RasterGrid

Floats = NDArray[np.float64]
# How far beyond a fire's pixels its surroundings are looked at for what was not observed.
SURROUNDINGS_PX = 10


@dataclass(frozen=True)
class Rated:
    """Severity of a window.

    Attributes:
        classes: Uint8 ``(rows, cols)``: 1 to ``n`` of the table, ``n + 1`` where not known.
        dnbr: Float32 ``(rows, cols)``, the offset taken off; NaN where not known.
    """

    classes: NDArray[np.uint8]
    dnbr: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class FireSums:
    """Per fire, in the order of the components.

    Attributes:
        pixels: Int64.
        areas_ha: Float64; None where the raster has no areas.
        severity_ha: Float64 ``(fires, classes + 1)``, the last of them not known; None without areas or severity.
        mean_dnbr: Float64, NaN where not known; None without severity.
        max_dnbr: As ``mean_dnbr``.
        mean_confidence: Float64 in percent, of the pixels where it is known; NaN where it is nowhere; None where it was
            not kept.
        boxes: Int64 ``(fires, 4)``: first row, first col, row and col behind the last.
        shape: Rows and columns of the raster.
    """

    pixels: NDArray[np.int64]
    areas_ha: Floats | None
    severity_ha: Floats | None
    mean_dnbr: Floats | None
    max_dnbr: Floats | None
    mean_confidence: Floats | None
    boxes: NDArray[np.int64]
    shape: tuple[int, int]

    @property
    def touches_edge(self) -> NDArray[np.bool_]:
        """Which fires reach the edge of the raster, beyond which nothing is known."""
        top, left, bottom, right = self.boxes.T
        reaches: NDArray[np.bool_] = (top == 0) | (left == 0) | (bottom == self.shape[0]) | (right == self.shape[1])
        return reaches


def measure_fires(
    components: Components,
    grid: RasterGrid,
    rate: Callable[[Box], Rated] | None,
    confidence: Callable[[Box], NDArray[np.unsignedinteger]] | None,
    n_classes: int,
) -> FireSums:
    """Sum up every fire, window by window.

    Args:
        components: The fires.
        grid: Of the mask.
        rate: Severity of a window; None where there is none.
        confidence: Percent of a window; values above 100 are not observed.
        n_classes: Classes of the severity table.
    """
    sums = _Sums(components, n_classes)
    areas = PixelAreas(grid)
    for box, labels in components.windows():
        if not labels.any():
            continue
        sums.add_places(box, labels)
        if confidence is not None:
            sums.add_confidence(labels, confidence(box))
        if rate is not None:
            area = np.broadcast_to(areas.window(box), box.shape) if areas.reason is None else None
            sums.add_severity(labels, rate(box), area)
    return sums.result(component_areas_ha(components, grid), rate is not None, confidence is not None)


def observed_share(sums: FireSums, not_observed: Callable[[Box], NDArray[np.bool_]]) -> Floats:
    """Return the observed share of each fire's bounding box, grown by 10 pixels at each side within the raster."""
    limits = np.array(sums.shape)
    starts = np.maximum(sums.boxes[:, :2] - SURROUNDINGS_PX, 0)
    stops = np.minimum(sums.boxes[:, 2:] + SURROUNDINGS_PX, limits)
    unseen = np.zeros(len(sums.boxes), np.int64)
    for window in split(sums.shape, WINDOW):
        missing = not_observed(window)
        if missing.any():
            origin = np.array(window.start, np.int64)
            unseen += _count_within(missing, starts - origin, stops - origin)
    shares: Floats = 1 - unseen / (stops - starts).prod(axis=1)
    return shares


def _count_within(marked: NDArray[np.bool_], starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the marked pixels in each of many boxes, which may reach beyond the window, by a summed-area table."""
    table = np.zeros((marked.shape[0] + 1, marked.shape[1] + 1), np.int64)
    table[1:, 1:] = marked.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    (top, left), (bottom, right) = (np.clip(ends, 0, marked.shape).T for ends in (starts, stops))
    counts: NDArray[np.int64] = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
    return counts


class _Sums:
    """Running sums; index 0 of the first axis is what belongs to no fire."""

    def __init__(self, components: Components, n_classes: int) -> None:
        n = components.n
        self._n, self._classes, self._shape = n, n_classes + 2, components.shape
        self._pixels = np.zeros(n + 1, np.int64)
        self._severity = np.zeros((n + 1) * self._classes)
        self._dnbr, self._known = np.zeros(n + 1), np.zeros(n + 1, np.int64)
        self._highest = np.full(n + 1, -np.inf)
        self._confidence, self._rated = np.zeros(n + 1), np.zeros(n + 1, np.int64)
        self._boxes = np.tile(np.array([np.iinfo(np.int64).max] * 2 + [0, 0]), (n + 1, 1))
        self._has_areas = True

    def add_places(self, box: Box, labels: NDArray[np.int64]) -> None:
        rows, cols = np.nonzero(labels)
        found = labels[rows, cols]
        rows, cols = rows + box.start[0], cols + box.start[1]
        self._pixels += np.bincount(found, minlength=self._n + 1)
        for axis, places in enumerate((rows, cols)):
            np.minimum.at(self._boxes[:, axis], found, places)
            np.maximum.at(self._boxes[:, axis + 2], found, places + 1)

    def add_confidence(self, labels: NDArray[np.int64], percent: NDArray[np.unsignedinteger]) -> None:
        known = percent <= 100
        self._confidence += _sum(labels[known], percent[known].astype(np.float64), self._n)
        self._rated += np.bincount(labels[known], minlength=self._n + 1)

    def add_severity(self, labels: NDArray[np.int64], rated: Rated, areas: Floats | None) -> None:
        known = np.isfinite(rated.dnbr) & (labels > 0)
        self._dnbr += _sum(labels[known], rated.dnbr[known].astype(np.float64), self._n)
        self._known += np.bincount(labels[known], minlength=self._n + 1)
        np.maximum.at(self._highest, labels[known], rated.dnbr[known])
        if areas is None:
            self._has_areas = False
            return
        inside = labels > 0
        cells = labels[inside] * self._classes + rated.classes[inside]
        self._severity += np.bincount(cells, weights=areas[inside], minlength=len(self._severity))

    def result(self, areas_ha: Floats | None, rated: bool, confident: bool) -> FireSums:
        pixels, known = self._pixels[1:], self._known[1:]
        severity = self._severity.reshape(-1, self._classes)[1:, 1:] / M2_PER_HA
        return FireSums(
            pixels=pixels,
            areas_ha=areas_ha,
            severity_ha=severity if rated and self._has_areas else None,
            mean_dnbr=_mean(self._dnbr[1:], known) if rated else None,
            max_dnbr=np.where(known > 0, self._highest[1:], np.nan) if rated else None,
            mean_confidence=_mean(self._confidence[1:], self._rated[1:]) if confident else None,
            boxes=self._boxes[1:],
            shape=self._shape,
        )


def _sum(labels: NDArray[np.int64], weights: Floats, n: int) -> Floats:
    return np.bincount(labels.ravel(), weights=weights.ravel(), minlength=n + 1).astype(np.float64)


def _mean(sums: Floats, counts: NDArray[np.int64]) -> Floats:
    """Divide, leaving NaN where nothing was counted."""
    means: Floats = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
    return means
