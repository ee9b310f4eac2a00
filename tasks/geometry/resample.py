"""Separable interpolation between the native and the model grid, window by window.

Every number is a function of global coordinates alone, so a window equals the cut of the whole, bit for bit.
Works on NumPy arrays and on whatever else ``array_api_compat`` has a namespace for.
"""

from __future__ import annotations

from dataclasses import dataclass

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from models.predictor import DeviceArray
from tasks.geometry.box import Box
from tasks.geometry.frame import Frame, Order

# The pole of the cubic spline's prefilter (Unser 1999, "Splines: a perfect fit", table 1).
_POLE = np.sqrt(3.0) - 2.0
# What lies further away weighs less than float32 can tell.
_REACH = 12


@dataclass(frozen=True)
class AxisMap:
    """What the pixels of a target range are made of along the source axis; half-pixel centres, clamped at the borders.

    Attributes:
        sources: ``(taps, pixels)``: source indices, inside the axis; for linear maps the pixel below and that above.
        weights: Float64 ``(taps, pixels)``, summing to one.
        on_grid: Whether each target pixel is one source pixel.
    """

    sources: NDArray[np.intp]
    weights: NDArray[np.float64]
    on_grid: bool = False

    @property
    def source_start(self) -> int:
        """First source pixel needed."""
        return int(self.sources[:, 0].min())

    @property
    def source_stop(self) -> int:
        """One past the last source pixel needed."""
        return int(self.sources[:, -1].max()) + 1

    def moved(self, offset: int) -> AxisMap:
        """Return the map onto a source axis that begins ``offset`` pixels earlier."""
        return AxisMap(self.sources + offset, self.weights, self.on_grid)


def axis_map(  # noqa: PLR0913 - a range on one axis, and how it lies on the other
    start: int, stop: int, ratio: float, length: int, order: Order = 1, anchor: float = 0.5, first: int = 0
) -> AxisMap:
    """Map target pixels ``[start, stop)`` onto a source axis.

    Args:
        start: First target pixel.
        stop: One past the last; at least ``start + 1``.
        ratio: Source pixels per target pixel.
        length: Pixels of the whole source axis.
        order: Of the spline: 0, 1 or 3. At a ratio of 1 all are the same.
        anchor: Where in their first pixels the axes meet: 0.5 is the outer edge, 0 the centre.
        first: Where the source axis begins on the one that the coordinates are of.

    Returns:
        Indices and weights at source coordinates ``(target + anchor) * ratio - anchor``.
    """
    position = (np.arange(start, stop, dtype=np.float64) + anchor) * ratio - anchor - first
    if order == 3 and ratio != 1.0:
        # Not clamped: between the outermost centre and the edge the spline runs on over samples that repeat the last.
        position = np.clip(position, -1.0, float(length))
        offsets, weights = cardinal_weights(position - np.floor(position))
        sources = np.floor(position).astype(np.intp) + offsets[:, np.newaxis]
        return AxisMap(np.clip(sources, 0, length - 1), weights)
    position = np.clip(position, 0.0, float(length - 1))
    if order == 0 or ratio == 1.0:
        # Half way between two, each of the programs whose grids these are takes another one.
        nearest = np.floor(position + 0.5) if anchor else np.rint(position)
        return AxisMap(nearest.astype(np.intp)[np.newaxis], np.ones((1, nearest.size)), on_grid=True)
    lower = np.floor(position)
    weight = position - lower
    below = lower.astype(np.intp)
    # A pixel that lies on a source pixel needs no neighbour: this keeps source windows as small as can be.
    above = np.minimum(below + (weight > 0), length - 1)
    return AxisMap(np.stack([below, above]), np.stack([1.0 - weight, weight]))


def to_model_maps(model: Box, frame: Frame) -> list[AxisMap]:
    """Return what the pixels of a window of the model grid are made of, per axis."""
    covered = frame.covered
    model = model.shifted(frame.first) if frame.first else model
    orders = [order for order, _ in frame.orders] or [1] * len(frame.scale)
    parts = zip(model.start, model.stop, frame.scale, covered.shape, orders, strict=True)
    return [
        axis_map(start, stop, ratio=1.0 / scale, length=length, order=order, anchor=frame.anchor).moved(offset)
        for (start, stop, scale, length, order), offset in zip(parts, covered.start, strict=True)
    ]


def to_native_maps(native: Box, frame: Frame) -> list[AxisMap]:
    """Return what the pixels of a window of the native grid are made of; outside the crop, the pixels at its edge."""
    inside = native.relative_to(frame.covered.start)
    orders = [order for _, order in frame.orders] or [1] * len(frame.scale)
    firsts = frame.first or (0,) * len(frame.scale)
    parts = zip(inside.start, inside.stop, frame.scale, frame.model_shape, orders, strict=True)
    return [axis_map(*part, frame.anchor, first) for part, first in zip(parts, firsts, strict=True)]


def native_box(model: Box, frame: Frame) -> Box:
    """Return the native window that ``to_model`` needs for ``model``."""
    return _box(to_model_maps(model, frame))


def model_box(native: Box, frame: Frame) -> Box:
    """Return the model window that ``to_native`` needs for ``native``."""
    return _box(to_native_maps(native, frame))


def to_model(window: DeviceArray, native_start: tuple[int, ...], model: Box, frame: Frame) -> DeviceArray:
    """Interpolate a native window ``(..., *shape)``, which starts at ``native_start``, onto ``model``.

    Constants survive exactly where the map is linear, and so does everything along an axis of ratio 1.

    Args:
        window: Floating, with at least the pixels of ``native_box``.
        native_start: Where the window lies in the native grid.
        model: In the model grid.
        frame: The two grids.

    Returns:
        ``(..., *model.shape)`` of the window's dtype, on its device; may be a view of ``window``.
    """
    return _interpolate(window, native_start, to_model_maps(model, frame), [1.0 / scale for scale in frame.scale])


def to_native(window: DeviceArray, model_start: tuple[int, ...], native: Box, frame: Frame) -> DeviceArray:
    """Interpolate a model window ``(..., *shape)``, which starts at ``model_start``, onto ``native``."""
    return _interpolate(window, model_start, to_native_maps(native, frame), list(frame.scale))


def cardinal_weights(fraction: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Weigh the samples round points between two of them, as the interpolating cubic spline does.

    The spline's coefficients are the samples filtered with ``sqrt(3) * pole ** abs(k)`` (Unser 1999, "Splines: a
    perfect fit for signal and image processing", section on B-spline interpolation); what the two steps, filtering
    and evaluating, make of each sample is summed here.

    Args:
        fraction: How far each point lies above the sample below it, 0 to 1; ``(points,)``.

    Returns:
        Offsets ``(taps,)`` from the sample below, that sample first, and weights ``(taps, points)``, which sum to one.
    """
    offsets = np.arange(-_REACH, _REACH + 2)
    offsets = offsets[np.argsort(np.abs(offsets), kind="stable")]
    knots = np.arange(-1, 3)
    filtered = np.sqrt(3.0) * _POLE ** np.abs(offsets[:, np.newaxis] - knots)
    weights = filtered @ _cubic(np.abs(fraction - knots[:, np.newaxis]))
    return offsets.astype(np.intp), weights / weights.sum(axis=0)


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evaluate the centred cubic B-spline."""
    near = 2.0 / 3.0 - distance**2 + distance**3 / 2.0
    far = np.maximum(2.0 - distance, 0.0) ** 3 / 6.0
    return np.where(distance < 1.0, near, far)


def _box(maps: list[AxisMap]) -> Box:
    return Box(tuple(m.source_start for m in maps), tuple(m.source_stop for m in maps))


def _interpolate(
    window: DeviceArray, source_start: tuple[int, ...], maps: list[AxisMap], ratio: list[float]
) -> DeviceArray:
    n_leading = window.ndim - len(maps)
    # The axis that shrinks most goes first: fewer numbers for the others. Every window has the same order.
    for axis in sorted(range(len(maps)), key=lambda a: -ratio[a]):
        window = _along(window, axis + n_leading, maps[axis].moved(-source_start[axis]))
    return window


def _along(window: DeviceArray, axis: int, along: AxisMap) -> DeviceArray:
    first = along.sources[0]
    if along.on_grid and np.array_equal(first, np.arange(first[0], first[0] + first.size)):
        index = (slice(None),) * axis + (slice(int(first[0]), int(first[0]) + first.size),)
        return window[index]
    xp = array_api_compat.array_namespace(window)
    device = array_api_compat.device(window)
    start = xp.take(window, xp.asarray(first, device=device), axis=axis)
    if along.on_grid:
        return start
    result = None
    # x0 + w * (x1 - x0): w * x1 + (1 - w) * x0 would move a constant by a rounding error.
    for sources, weights in zip(along.sources[1:], along.weights[1:], strict=True):
        part = xp.take(window, xp.asarray(sources, device=device), axis=axis)
        part -= start
        part *= xp.asarray(weights.reshape((-1,) + (1,) * (window.ndim - axis - 1)), dtype=window.dtype, device=device)
        if result is None:
            result = part
        else:
            result += part
    result += start
    return result
