"""Separable linear interpolation between the native and the model grid, window by window.

Every number is a function of global coordinates alone, so a window equals the cut of the whole, bit for bit.
Works on NumPy arrays and on whatever else ``array_api_compat`` has a namespace for.
"""

from __future__ import annotations

from dataclasses import dataclass

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from models.predictor import DeviceArray
from tasks.box import Box
from tasks.scenes.scene import Frame


@dataclass(frozen=True)
class AxisMap:
    """Where the pixels of a target range lie on the source axis, half-pixel centres, clamped at the borders.

    Attributes:
        lower: Source index below each target pixel.
        upper: Source index above it, inside the axis.
        weight: Float64 in [0, 1): share of ``upper``.
    """

    lower: NDArray[np.intp]
    upper: NDArray[np.intp]
    weight: NDArray[np.float64]

    @property
    def source_start(self) -> int:
        """First source pixel needed."""
        return int(self.lower[0])

    @property
    def source_stop(self) -> int:
        """One past the last source pixel needed."""
        return int(self.upper[-1]) + 1


def axis_map(start: int, stop: int, ratio: float, length: int) -> AxisMap:
    """Map target pixels ``[start, stop)`` onto a source axis.

    Args:
        start: First target pixel.
        stop: One past the last; at least ``start + 1``.
        ratio: Source pixels per target pixel.
        length: Pixels of the whole source axis.

    Returns:
        Indices and weights at source coordinates ``(target + 0.5) * ratio - 0.5``.
    """
    position = (np.arange(start, stop, dtype=np.float64) + 0.5) * ratio - 0.5
    position = np.clip(position, 0.0, float(length - 1))
    lower = np.floor(position)
    weight = position - lower
    below = lower.astype(np.intp)
    # A pixel that lies on a source pixel needs no neighbour: this keeps source windows as small as can be.
    above = np.minimum(below + (weight > 0), length - 1)
    return AxisMap(below, above, weight)


def source_box(target: Box, ratio: tuple[float, ...], source_shape: tuple[int, ...]) -> Box:
    """Return the source window that ``interpolate`` needs for ``target``; arguments as there."""
    maps = _maps(target, ratio, source_shape)
    return Box(tuple(m.source_start for m in maps), tuple(m.source_stop for m in maps))


def interpolate(
    window: DeviceArray,
    source_start: tuple[int, ...],
    target: Box,
    ratio: tuple[float, ...],
    source_shape: tuple[int, ...],
) -> DeviceArray:
    """Interpolate a source window at the pixels of ``target``.

    Constants survive exactly, and so does everything along an axis of ratio 1.

    Args:
        window: Floating ``(..., *source window)`` with at least the pixels of ``source_box``.
        source_start: Where the window lies in the source grid.
        target: In the target grid.
        ratio: Source pixels per target pixel along each axis.
        source_shape: Of the whole source grid.

    Returns:
        ``(..., *target.shape)`` of the window's dtype, on its device; may be a view of ``window``.
    """
    n_leading = window.ndim - len(ratio)
    maps = _maps(target, ratio, source_shape)
    # The axis that shrinks most goes first: fewer numbers for the others. Every window has the same order.
    for axis in sorted(range(len(ratio)), key=lambda a: -ratio[a]):
        window = _along(window, axis + n_leading, maps[axis], source_start[axis], ratio[axis] == 1.0)
    return window


def native_box(model: Box, frame: Frame) -> Box:
    """Return the native window that ``to_model`` needs for ``model``."""
    return source_box(model, _native_per_model(frame), frame.native_shape)


def model_box(native: Box, frame: Frame) -> Box:
    """Return the model window that ``to_native`` needs for ``native``."""
    return source_box(native, frame.scale, frame.model_shape)


def to_model(window: DeviceArray, native_start: tuple[int, ...], model: Box, frame: Frame) -> DeviceArray:
    """Interpolate a native window ``(..., *shape)``, which starts at ``native_start``, onto ``model``."""
    return interpolate(window, native_start, model, _native_per_model(frame), frame.native_shape)


def to_native(window: DeviceArray, model_start: tuple[int, ...], native: Box, frame: Frame) -> DeviceArray:
    """Interpolate a model window ``(..., *shape)``, which starts at ``model_start``, onto ``native``."""
    return interpolate(window, model_start, native, frame.scale, frame.model_shape)


def _native_per_model(frame: Frame) -> tuple[float, ...]:
    return tuple(1.0 / scale for scale in frame.scale)


def _maps(target: Box, ratio: tuple[float, ...], source_shape: tuple[int, ...]) -> list[AxisMap]:
    ranges = zip(target.start, target.stop, ratio, source_shape, strict=True)
    return [axis_map(start, stop, r, length) for start, stop, r, length in ranges]


def _along(window: DeviceArray, axis: int, along: AxisMap, offset: int, on_grid: bool) -> DeviceArray:
    lower = along.lower - offset
    if on_grid and np.array_equal(lower, np.arange(lower[0], lower[0] + lower.size)):
        index = (slice(None),) * axis + (slice(int(lower[0]), int(lower[0]) + lower.size),)
        return window[index]
    xp = array_api_compat.array_namespace(window)
    device = array_api_compat.device(window)
    below = xp.take(window, xp.asarray(lower, device=device), axis=axis)
    if on_grid:
        return below
    weight = along.weight.reshape((-1,) + (1,) * (window.ndim - axis - 1))
    # x0 + w * (x1 - x0): w * x1 + (1 - w) * x0 would move a constant by a rounding error.
    result = xp.take(window, xp.asarray(along.upper - offset, device=device), axis=axis)
    result -= below
    result *= xp.asarray(weight, dtype=window.dtype, device=device)
    result += below
    return result
