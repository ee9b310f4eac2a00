"""Weed against crop, zone by zone, and where to spray."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import fsum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.answers.area import M2_PER_HA, PixelAreas
from tasks.geometry.box import Box, split
from tasks.geometry.raster_grid import RasterGrid

Floats = NDArray[np.float64]
ReadLayer = Callable[[Box], NDArray[np.unsignedinteger[Any]]]
LEAVE, SPRAY, NOTHING, UNDECIDED = 0, 1, 2, 255
DECISIONS = {SPRAY: "spray", LEAVE: "leave", NOTHING: "nothing to spray", UNDECIDED: "undecided"}
# As they are counted.
_ORDER = (LEAVE, SPRAY, NOTHING, UNDECIDED)
_WINDOW_PIXELS = 2048


@dataclass(frozen=True)
class SprayRule:
    """When a zone is sprayed.

    Attributes:
        weed: Class numbers of weed.
        crop: Class numbers of crop.
        spray_above: A pressure above is sprayed; 0.5 is where weed outweighs crop.
        min_observed: A zone of which a smaller share was observed stays undecided.
    """

    weed: tuple[int, ...]
    crop: tuple[int, ...]
    spray_above: float = 0.5
    min_observed: float = 0.5


@dataclass(frozen=True)
class SprayTotals:
    """What a decision means on the ground.

    Attributes:
        zones: Numbers of zones, or of fields, by decision.
        areas_ha: Areas of whole zones, or of fields, by decision; None where the raster has none.
    """

    zones: dict[int, int]
    areas_ha: dict[int, float] | None

    @property
    def saved_share(self) -> float | None:
        """``left / (sprayed + left)``: saved against spraying all that bears weed or crop; None where nothing does."""
        if self.areas_ha is None or self.areas_ha[SPRAY] + self.areas_ha[LEAVE] == 0:
            return None
        return self.areas_ha[LEAVE] / (self.areas_ha[SPRAY] + self.areas_ha[LEAVE])


def weed_pressure(weed: NDArray[np.int64], crop: NDArray[np.int64]) -> Floats:
    """Return ``weed / (weed + crop)`` per zone; NaN where there is neither."""
    both = weed + crop
    pressure: Floats = np.where(both > 0, weed / np.maximum(1, both), np.nan)
    return pressure


def decide(classes: NDArray[np.int64], pixels: NDArray[np.int64], rule: SprayRule) -> NDArray[np.uint8]:
    """Return 1 (spray), 0 (leave), 2 (nothing to spray, as there is neither weed nor crop) or 255 (undecided) per zone.

    Args:
        classes: Observed pixels per zone and class, ``(..., classes)``.
        pixels: Pixels per zone, observed or not, ``(...)``.
        rule: When to spray.
    """
    pressure = weed_pressure(classes[..., list(rule.weed)].sum(axis=-1), classes[..., list(rule.crop)].sum(axis=-1))
    decided = np.where(pressure > rule.spray_above, SPRAY, LEAVE).astype(np.uint8)
    decided[np.isnan(pressure)] = NOTHING
    too_little = classes.sum(axis=-1) < rule.min_observed * pixels
    decided[too_little | (pixels == 0)] = UNDECIDED
    return decided


@dataclass(frozen=True, kw_only=True)
class SprayZones:
    """Square zones over a mask, decided as they are read.

    Attributes:
        read: Reads a window of class numbers ``(rows, cols)``.
        grid: The mask's.
        n_classes: Anything from here on is not observed.
        side: Pixels of a zone's side; zones at the right and the bottom may be narrower.
        rule: When to spray.
    """

    read: ReadLayer
    grid: RasterGrid
    n_classes: int
    side: int
    rule: SprayRule

    @property
    def zone_grid(self) -> RasterGrid:
        """One pixel per zone; its last row and column may reach beyond the mask."""
        a, b, c, d, e, f = self.grid.affine
        side = self.side
        return RasterGrid(
            rows=-(-self.grid.rows // side),
            cols=-(-self.grid.cols // side),
            affine=(a * side, b * side, c, d * side, e * side, f),
            crs_wkt=self.grid.crs_wkt,
        )

    def decisions(self, box: Box) -> NDArray[np.uint8]:
        """Return the decisions ``(rows, cols)`` of a window of ``zone_grid``; a strip of the mask is held at a time."""
        result = np.empty(box.shape, np.uint8)
        step = max(1, _WINDOW_PIXELS // self.side)
        for part in split(box.shape, (step, step)):
            zones = part.shifted(box.start)
            labels = self.read(self._mask_box(zones))
            result[part.slices] = decide(*self._counts(labels, zones.shape), self.rule)
        return result

    def totals(self) -> SprayTotals:
        """Sum zones and the areas of their pixels."""
        areas = PixelAreas(self.grid)
        step = max(1, _WINDOW_PIXELS // self.side)
        zones = np.zeros(len(_ORDER), np.int64)
        sums: list[Floats] = []
        for box in split(self.zone_grid.shape, (step, step)):
            decided = self.decisions(box)
            kinds = np.searchsorted(_ORDER, decided)
            zones += np.bincount(kinds.ravel(), minlength=len(_ORDER))
            if areas.reason is None:
                pixels = self._mask_box(box)
                per_pixel = np.repeat(np.repeat(kinds, self.side, axis=0), self.side, axis=1)
                per_pixel = per_pixel[: pixels.shape[0], : pixels.shape[1]]
                weights = np.broadcast_to(areas.window(pixels), pixels.shape)
                summed = np.bincount(per_pixel.ravel(), weights=weights.ravel(), minlength=len(_ORDER))
                sums.append(summed.astype(np.float64))
        counts = dict(zip(_ORDER, (int(n) for n in zones), strict=True))
        if areas.reason is not None:
            return SprayTotals(counts, None)
        columns = np.array(sums).reshape(-1, len(_ORDER)).T
        return SprayTotals(counts, dict(zip(_ORDER, (fsum(column) / M2_PER_HA for column in columns), strict=True)))

    def _mask_box(self, zones: Box) -> Box:
        start = tuple(edge * self.side for edge in zones.start)
        stop = tuple(min(edge * self.side, n) for edge, n in zip(zones.stop, self.grid.shape, strict=True))
        return Box(start, stop)

    def _counts(self, labels: NDArray[Any], zones: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rows, cols = (np.arange(n) // self.side for n in labels.shape)
        zone = np.add.outer(rows * zones[1], cols)
        kinds = self.n_classes + 1
        flat = zone.ravel() * kinds + np.minimum(labels, self.n_classes).ravel().astype(np.int64)
        table = np.bincount(flat, minlength=zones[0] * zones[1] * kinds).reshape(*zones, kinds)
        return table[..., :-1], table.sum(axis=-1)
