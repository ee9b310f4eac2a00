"""Weights that sum to one everywhere, and the running sum that turns tile scores into finished slabs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from models.predictor import DeviceArray
from tasks.geometry.box import Box
from tasks.segment.lattice import Lattice, Tile, TileAxis
from tasks.segment.placement import FLOOR


@lru_cache(maxsize=256)
def axis_weights(axis: TileAxis, blend: str) -> tuple[NDArray[np.float32], ...]:
    """Weigh each tile of an axis over its core, so that all tiles sum to one at every pixel.

    Args:
        axis: The tiles.
        blend: ``core`` gives each pixel to one tile, cut in the middle of an overlap; ``hann`` weighs by a raised
            cosine over the overlaps; anything else is Gaussian, as the placement
            of the tiles has it.

    Returns:
        One float32 array per tile, as long as its core.
    """
    raw = {"core": _ownership, "hann": _hann}.get(blend, _gaussians)(axis)
    total = np.zeros(axis.length)
    for (start, stop), weights in zip(axis.cores, raw, strict=True):
        total[start:stop] += weights
    return tuple(
        (weights / total[start:stop]).astype(np.float32) for (start, stop), weights in zip(axis.cores, raw, strict=True)
    )


def _ownership(axis: TileAxis) -> list[NDArray[np.float64]]:
    cores = axis.cores
    cuts = [(nxt[0] + here[1]) // 2 for here, nxt in pairwise(cores)]
    begins, ends = [0, *cuts], [*cuts, axis.length]
    return [
        ((np.arange(*core) >= begin) & (np.arange(*core) < end)).astype(np.float64)
        for core, begin, end in zip(cores, begins, ends, strict=True)
    ]


def _hann(axis: TileAxis) -> list[NDArray[np.float64]]:
    """Rise and fall as ``(1 - cos) / 2`` over the overlap with the tile before and after, and are 1 between.

    At half overlap this is the Hann window, whose neighbours add up to one.
    """
    weights = [np.ones(stop - start) for start, stop in axis.cores]
    for before, after, (here, there) in zip(weights, weights[1:], pairwise(axis.cores), strict=False):
        shared = here[1] - there[0]
        if shared > 0:
            # Taken in the middle of pixels, so that no pixel of an overlap weighs nothing in one of its tiles.
            rise = (1.0 - np.cos(np.pi * (np.arange(shared) + 0.5) / shared)) / 2.0
            after[:shared] *= rise
            before[-shared:] *= rise[::-1]
    return weights


def _gaussians(axis: TileAxis) -> list[NDArray[np.float64]]:
    if len(axis.cores) == 1:
        return [np.ones(axis.length)]
    return axis.placement.gaussians(axis, axis.origins, axis.cores)


def tile_weights(lattice: Lattice, tile: Tile, blend: str) -> list[NDArray[np.float32]]:
    """Return a tile's weights along each axis; their outer product is its weight in the sum."""
    return [axis_weights(axis, blend)[i] for axis, i in zip(lattice.axes, tile.index, strict=True)]


@dataclass
class SlabBlender:
    """Adds weighted tile scores, strip by strip, and gives back what no later strip can change.

    Holds scores for one strip of ``region`` only, on the device that the scores are on. Sums are float32 and in the
    lattice's order, whatever the region, so that every pixel's sum has the same bits in every block.

    Attributes:
        lattice: All tiles of the scene.
        region: The part of the model grid that is asked for.
        blend: ``gaussian``, ``hann``, ``core`` or ``logits`` (Gaussian).
    """

    lattice: Lattice
    region: Box
    blend: str
    _sum: DeviceArray = field(default=None, init=False)
    _row: int = field(init=False)

    def __post_init__(self) -> None:
        self._row = self.region.start[0]

    def add(self, tile: Tile, scores: DeviceArray) -> None:
        """Add the scores ``(classes, *window less margin)`` of a tile."""
        part = tile.core.intersection(self.region)
        if part.is_empty:
            return
        xp = array_namespace(scores)
        self._reserve(scores, part.stop[0])
        margin = tuple(axis.margin for axis in self.lattice.axes)
        place = part.relative_to((self._row, *self.region.start[1:])).slices
        weighted = scores[(slice(None), *part.relative_to(tile.window.start).shifted(tuple(-m for m in margin)).slices)]
        if self._floored is not None:
            factor = self._floored[part.relative_to(tile.window.start).slices]
            weight = xp.asarray(factor, device=device(scores))
            self._sum[(slice(None, -1), *place)] += weighted * weight
            self._sum[(-1, *place)] += weight
            return
        inside = part.relative_to(tile.core.start).slices
        for axis, weights in enumerate(tile_weights(self.lattice, tile, self.blend)):
            factor = weights[inside[axis]]
            if (factor == 1).all():
                continue
            shape = [1] * weighted.ndim
            shape[axis + 1] = -1
            weighted = weighted * xp.reshape(xp.asarray(factor, device=device(scores)), tuple(shape))
        place = part.relative_to((self._row, *self.region.start[1:])).slices
        self._sum[(slice(None), *place)] += weighted

    def _reserve(self, scores: DeviceArray, stop_row: int) -> None:
        have = 0 if self._sum is None else self._sum.shape[1]
        missing = stop_row - self._row - have
        if missing <= 0:
            return
        xp = array_namespace(scores)
        shape = (scores.shape[0] + (self._floored is not None), missing, *self.region.shape[1:])
        more = xp.zeros(shape, dtype=xp.float32, device=device(scores))
        self._sum = more if self._sum is None else xp.concat([self._sum, more], axis=1)

    def finished(self, next_row: int) -> Iterator[tuple[int, DeviceArray]]:
        """Yield ``(first row, scores (classes, rows, ...))`` of all rows before ``next_row``, once.

        Rows that no tile was added to are passed over.
        """
        if self._sum is not None and (count := min(next_row - self._row, self._sum.shape[1])) > 0:
            slab, rest = self._sum[:, :count], self._sum[:, count:]
            # An empty rest is let go of, so that skipped rows are never held.
            self._sum = rest if rest.shape[1] else None
            yield self._row, self._divided(slab)
        self._row = max(self._row, next_row)

    @property
    def _floored(self) -> NDArray[np.float32] | None:
        """Weights of a tile whose sum over all tiles is not one, so that it is kept beside the scores."""
        if self.blend in ("core", "hann"):
            return None
        axes = self.lattice.axes
        return axes[0].placement.floored(tuple(axis.tile for axis in axes))

    def _divided(self, slab: DeviceArray) -> DeviceArray:
        if self._floored is None:
            return slab
        # Where no tile was added there is nothing to divide.
        return slab[:-1] / array_namespace(slab).clip(slab[-1], FLOOR, None)
