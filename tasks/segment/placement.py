"""How tiles are laid over a scene: where they begin, what they weigh, and what they see beyond its edges."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from models.card import Beyond, Tiling
from tasks.errors import PlanError
from tasks.geometry.box import Box

Floats = NDArray[np.float64]
# Of MONAI's weights.
FLOOR = 1e-3
# Far from its centre a lone tile would underflow to 0/0.
_LEAST = 1e-280


@dataclass(frozen=True, kw_only=True)
class Extent:
    """One axis of the model grid, and the tiles that shall cover it.

    Attributes:
        length: Pixels of the scene.
        tile: Pixels of a tile.
        halo: Pixels at each inner side that a tile reads but does not answer for.
        overlap: Pixels that neighbouring cores share, at least.
        stride: Of the network.
        margin: Pixels that the network loses at each side; none where tiles do not lie on its stride.
    """

    length: int
    tile: int
    halo: int
    overlap: int
    stride: int = 1
    margin: int = 0

    @property
    def beyond(self) -> int:
        """Pixels beyond an edge that are read, a multiple of the stride."""
        return round_up(self.margin, self.stride)

    @property
    def whole(self) -> int:
        """Side of a tile that holds the whole axis."""
        return round_up(self.length + 2 * self.beyond, self.stride)

    @property
    def inner(self) -> int:
        """Pixels from the side of a tile to its core."""
        return max(self.halo, self.margin)

    @property
    def room(self) -> int:
        """Pixels that a tile leaves free; negative where it is longer than the scene."""
        return self.length - self.tile


class Placement(ABC):
    """A way to lay tiles. It is small and frozen: it travels with the plan."""

    # As cards call it.
    name: ClassVar[str]
    # Whether a tile may be made shorter where that holds the whole axis.
    may_shrink: ClassVar[bool] = False

    def step(self, extent: Extent) -> int:
        """Return the distance of neighbouring origins.

        Raises:
            PlanError: When halo and overlap leave nothing of the tile.
        """
        step = extent.tile - 2 * extent.inner - extent.overlap
        if step < 1:
            raise _without_room(extent)
        return step

    @abstractmethod
    def origins(self, extent: Extent) -> tuple[int, ...]:
        """Return the first pixel that each tile reads; it may lie outside the scene."""

    @abstractmethod
    def gaussians(
        self, extent: Extent, origins: Sequence[int], cores: Sequence[tuple[int, int]]
    ) -> list[NDArray[np.float64]]:
        """Weigh the pixels of each core along an axis by a Gaussian; sums are made one afterwards."""

    def floored(self, tile: tuple[int, ...]) -> NDArray[np.float32] | None:
        """Return the weights of a whole tile, where they are no product of weights along its axes; else None."""
        return None

    def seen(self, window: Box, shape: tuple[int, ...]) -> Box:
        """Return the part of a scene of ``shape`` that is read for a window."""
        return window.intersection(Box.of_shape(shape))

    @abstractmethod
    def filled(
        self, inputs: NDArray[np.float32], inside: Box, window: Box, shape: tuple[int, ...]
    ) -> NDArray[np.float32]:
        """Make what was read ``(channels, *inside.shape)`` into what a window shows ``(channels, *window.shape)``.

        Args:
            inputs: Normalised values.
            inside: The part of the scene that they are of.
            window: May reach beyond the scene.
            shape: Of the scene.
        """


@dataclass(frozen=True)
class OnStride(Placement):
    """Tiles on multiples of the network's stride, over a scene that is mirrored at its edges.

    The first tile starts at the scene's edge, the last one is moved back until it ends there, so that edges are seen
    as an untiled pass would see them.
    """

    name: ClassVar[str] = "stride"
    may_shrink: ClassVar[bool] = True

    def step(self, extent: Extent) -> int:
        """Return the distance of neighbouring origins, a multiple of the stride."""
        step = (extent.tile - 2 * extent.inner - extent.overlap) // extent.stride * extent.stride
        if step < 1 or extent.overlap > step:
            raise _without_room(extent)
        return step

    def origins(self, extent: Extent) -> tuple[int, ...]:
        """Lay tiles from edge to edge."""
        first = -extent.beyond
        last = max(first, round_up(extent.length + extent.margin - extent.tile, extent.stride))
        # One tile that holds the whole axis needs no room for halo and overlap.
        return (first,) if first == last else (*range(first, last, self.step(extent)), last)

    def gaussians(
        self, extent: Extent, origins: Sequence[int], cores: Sequence[tuple[int, int]]
    ) -> list[NDArray[np.float64]]:
        """Weigh by ``sqrt(step * overlap / 12)``.

        A tile's weight has fallen to 1/400 where its core ends, whatever the overlap, so that no step is left there;
        at half overlap this is the eighth of a tile that nnU-Net and MONAI use.
        """
        variance = max(self.step(extent) * extent.overlap / 12, 1.0)
        return _bells(origins, cores, centre=extent.tile / 2 - 0.5, variance=variance)

    def seen(self, window: Box, shape: tuple[int, ...]) -> Box:
        """Return what the window shows, and what its mirrored parts are images of."""
        indices = [reflect(a, b, n) for a, b, n in zip(window.start, window.stop, shape, strict=True)]
        return Box(tuple(int(i.min()) for i in indices), tuple(int(i.max()) + 1 for i in indices))

    def filled(
        self, inputs: NDArray[np.float32], inside: Box, window: Box, shape: tuple[int, ...]
    ) -> NDArray[np.float32]:
        """Mirror the scene at its edges."""
        sides = zip(window.start, window.stop, shape, inside.start, strict=True)
        for axis, (start, stop, length, first) in enumerate(sides):
            inputs = np.take(inputs, reflect(start, stop, length) - first, axis=axis + 1)
        return inputs


@dataclass(frozen=True)
class Even(Placement):
    """Tiles spread evenly from edge to edge, over zeros: as nnU-Net v2 lays them."""

    name: ClassVar[str] = "even"

    def origins(self, extent: Extent) -> tuple[int, ...]:
        """Lay tiles as ``compute_steps_for_sliding_window`` and ``pad_nd_image`` of nnU-Net v2 do."""
        if extent.room <= 0:
            return (-(-extent.room // 2),)
        # Half of an odd tile is no whole number.
        halved = extent.overlap > 0 and extent.overlap == extent.tile // 2 and extent.inner == 0
        step = extent.tile / 2 if halved else extent.tile - 2 * extent.inner - extent.overlap
        count = math.ceil(extent.room / step)
        return tuple(round(extent.room / count * i) for i in range(count + 1))

    def gaussians(
        self, extent: Extent, origins: Sequence[int], cores: Sequence[tuple[int, int]]
    ) -> list[NDArray[np.float64]]:
        """Weigh as ``compute_gaussian`` of nnU-Net v2 does: an even tile has its centre half a pixel late."""
        return _bells(origins, cores, centre=float(extent.tile // 2), variance=(extent.tile / 8) ** 2)

    def filled(
        self, inputs: NDArray[np.float32], inside: Box, window: Box, shape: tuple[int, ...]
    ) -> NDArray[np.float32]:
        """Set the scene in zeros."""
        return _in_zeros(inputs, inside, window)


@dataclass(frozen=True)
class Shifted(Placement):
    """Tiles one step apart, the last one moved back to end with the scene: as MONAI lays them.

    Attributes:
        sigma: Of the Gaussian that weighs tiles, in tiles; None where all pixels of a tile weigh the same.
        beyond: What tiles see outside the scene: zeros, or the pixels at its ``edge``.
    """

    name: ClassVar[str] = "shifted"
    sigma: float | None
    beyond: Beyond

    def origins(self, extent: Extent) -> tuple[int, ...]:
        """Lay tiles as ``sliding_window_inference`` of MONAI does."""
        room = extent.room
        return (-(-room // 2),) if room <= 0 else (*range(0, room, self.step(extent)), room)

    def gaussians(
        self, extent: Extent, origins: Sequence[int], cores: Sequence[tuple[int, int]]
    ) -> list[NDArray[np.float64]]:
        """Weigh all pixels alike: what MONAI weighs by a Gaussian is ``floored``."""
        return [np.ones(stop - start) for start, stop in cores]

    def floored(self, tile: tuple[int, ...]) -> NDArray[np.float32] | None:
        """Weigh as ``compute_importance_map`` of MONAI does."""
        return None if self.sigma is None else floored_gaussian(tile, self.sigma)

    def filled(
        self, inputs: NDArray[np.float32], inside: Box, window: Box, shape: tuple[int, ...]
    ) -> NDArray[np.float32]:
        """Set the scene in zeros, or go on with the pixels at its edge."""
        if self.beyond == "zeros":
            return _in_zeros(inputs, inside, window)
        sides = zip(inside.start, window.start, window.stop, inside.stop, strict=True)
        widths = [(start - first, stop - last) for start, first, stop, last in sides]
        return np.pad(inputs, [(0, 0), *widths], mode="edge")


ON_STRIDE = OnStride()


def placement_of(tiling: Tiling) -> Placement:
    """Return how a card wants its tiles laid."""
    if tiling.placement == "even":
        return Even()
    if tiling.placement == "shifted":
        return Shifted(tiling.sigma, tiling.beyond)
    return ON_STRIDE


@lru_cache(maxsize=8)
def floored_gaussian(tile: tuple[int, ...], sigma: float) -> NDArray[np.float32]:
    """Weigh the pixels of a tile as ``compute_importance_map`` of MONAI does: a Gaussian, nowhere below 1/1000.

    That floor is why these weights are no product of weights along the axes.

    Args:
        tile: Pixels along each axis.
        sigma: In tiles.

    Returns:
        Float32 ``tile``, 1 in the middle.
    """
    weights = np.ones((1,) * len(tile), np.float32)
    for axis, length in enumerate(tile):
        places = np.arange(length, dtype=np.float32) - np.float32((length - 1) / 2)
        along = np.exp(places**2 / np.float32(-2 * (length * sigma) ** 2))
        weights = weights * along.reshape([-1 if k == axis else 1 for k in range(len(tile))])
    return np.maximum(weights, np.float32(FLOOR))


def reflect(start: int, stop: int, length: int) -> NDArray[np.intp]:
    """Return the pixel that stands for each of ``[start, stop)``, mirrored at the edge pixels' centres.

    The same as ``numpy.pad(mode="reflect")``, but in the scene's coordinates, so that it does not depend on the window.
    """
    index = np.arange(start, stop)
    if length == 1:
        return np.zeros_like(index)
    period = 2 * (length - 1)
    folded = np.mod(index, period)
    mirrored: NDArray[np.intp] = np.minimum(folded, period - folded)
    return mirrored


def round_up(value: int, multiple: int) -> int:
    """Return the least multiple that is not below a value."""
    return -(-value // multiple) * multiple


def _bells(
    origins: Sequence[int], cores: Sequence[tuple[int, int]], *, centre: float, variance: float
) -> list[NDArray[np.float64]]:
    weights = []
    for origin, core in zip(origins, cores, strict=True):
        distance = np.arange(*core) - (origin + centre)
        weights.append(np.maximum(np.exp(-(distance**2) / (2 * variance)), _LEAST))
    return weights


def _in_zeros(inputs: NDArray[np.float32], inside: Box, window: Box) -> NDArray[np.float32]:
    padded = np.zeros((inputs.shape[0], *window.shape), np.float32)
    padded[(slice(None), *inside.relative_to(window.start).slices)] = inputs
    return padded


def _without_room(extent: Extent) -> PlanError:
    return PlanError(
        f"tile {extent.tile} leaves no room for halo {extent.inner} at each side and overlap {extent.overlap}; "
        "enlarge tiling.tile, or reduce tiling.halo or tiling.overlap"
    )
