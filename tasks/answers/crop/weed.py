"""Weed against crop, zone by zone, and where to spray."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import fsum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.answers.area import M2_PER_HA, PixelAreas
from tasks.box import Box, split
from tasks.scenes.raster_grid import RasterGrid

Floats = NDArray[np.float64]
ReadLayer = Callable[[Box], NDArray[np.unsignedinteger[Any]]]
LEAVE, SPRAY, UNDECIDED = 0, 1, 255
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
    """What a decision means on the ground; areas are those of whole zones, None where the raster has none.

    Attributes:
        zones: Zones sprayed, left and undecided.
        sprayed_ha: Area of the zones that are sprayed.
        left_ha: Area of the zones that are not: what is saved against spraying all that was decided.
        undecided_ha: Area of the zones of which too little was observed.
    """

    zones: tuple[int, int, int]
    sprayed_ha: float | None
    left_ha: float | None
    undecided_ha: float | None

    @property
    def saved_share(self) -> float | None:
        """``left / (sprayed + left)``; None where nothing was decided."""
        if self.sprayed_ha is None or self.left_ha is None or self.sprayed_ha + self.left_ha == 0:
            return None
        return self.left_ha / (self.sprayed_ha + self.left_ha)


def weed_pressure(weed: NDArray[np.int64], crop: NDArray[np.int64]) -> Floats:
    """Return ``weed / (weed + crop)`` per zone; NaN where there is neither."""
    both = weed + crop
    pressure: Floats = np.where(both > 0, weed / np.maximum(1, both), np.nan)
    return pressure


def decide(classes: NDArray[np.int64], pixels: NDArray[np.int64], rule: SprayRule) -> NDArray[np.uint8]:
    """Return 1 (spray), 0 (leave) or 255 (undecided) per zone.

    A zone without weed and crop is left, as there is nothing to spray or to save.

    Args:
        classes: Observed pixels per zone and class, ``(..., classes)``.
        pixels: Pixels per zone, observed or not, ``(...)``.
        rule: When to spray.
    """
    pressure = weed_pressure(classes[..., list(rule.weed)].sum(axis=-1), classes[..., list(rule.crop)].sum(axis=-1))
    decided = np.where(np.nan_to_num(pressure, nan=-1.0) > rule.spray_above, SPRAY, LEAVE).astype(np.uint8)
    too_little = classes.sum(axis=-1) < rule.min_observed * pixels
    decided[too_little | (pixels == 0)] = UNDECIDED
    return decided


@dataclass(frozen=True)
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
            -(-self.grid.rows // side),
            -(-self.grid.cols // side),
            (a * side, b * side, c, d * side, e * side, f),
            self.grid.crs_wkt,
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
        zones = np.zeros(3, np.int64)
        sums: list[Floats] = []
        for box in split(self.zone_grid.shape, (step, step)):
            decided = self.decisions(box)
            kinds = np.where(decided == UNDECIDED, 2, decided).astype(np.intp)
            zones += np.bincount(kinds.ravel(), minlength=3)
            if areas.reason is None:
                pixels = self._mask_box(box)
                per_pixel = np.repeat(np.repeat(kinds, self.side, axis=0), self.side, axis=1)
                per_pixel = per_pixel[: pixels.shape[0], : pixels.shape[1]]
                weights = np.broadcast_to(areas.window(pixels), pixels.shape)
                sums.append(np.bincount(per_pixel.ravel(), weights=weights.ravel(), minlength=3).astype(np.float64))
        left, sprayed, undecided = (int(n) for n in zones)
        if areas.reason is not None:
            return SprayTotals((sprayed, left, undecided), None, None, None)
        hectares = [fsum(column) / M2_PER_HA for column in np.array(sums).reshape(-1, 3).T]
        return SprayTotals((sprayed, left, undecided), hectares[SPRAY], hectares[LEAVE], hectares[2])

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
