"""The grid that a network sees, laid over a volume's own."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from models.card import CentredResampling, Resampling
from tasks.geometry.box import Box
from tasks.geometry.frame import Frame, Order

# Spacings that differ by less than this over a whole axis are one spacing: float32 headers round.
_SAME_SPACING_PIXELS = 0.01


def frame_of(
    shape: tuple[int, ...],
    spacing_mm: tuple[float, ...],
    model_spacing_mm: tuple[float | None, ...] | None,
    resampling: Resampling | CentredResampling | None = None,
    crop: Box | None = None,
) -> Frame:
    """Lay a model grid over a native one: it starts at the same outer corner, or first centre, and covers the rest.

    Args:
        shape: Native voxels.
        spacing_mm: Of the native grid.
        model_spacing_mm: Of the model grid; None for the native one, along one axis or all.
        resampling: How to come from one to the other; None for linear interpolation.
        crop: The part of the native grid that the model looks at; None for all of it.
    """
    crop = None if crop == Box.of_shape(shape) else crop
    wanted = [
        own if model is None else model
        for own, model in zip(spacing_mm, model_spacing_mm or [None] * len(shape), strict=True)
    ]
    if isinstance(resampling, Resampling):
        return _stretched(shape, crop, spacing_mm=spacing_mm, wanted_mm=tuple(wanted), resampling=resampling)
    lengths, scales = [], []
    for length, native, model in zip(shape, spacing_mm, wanted, strict=True):
        scale = native / model
        drift = abs(scale - 1.0) * length
        scales.append(1.0 if drift < _SAME_SPACING_PIXELS else scale)
        lengths.append(max(1, math.ceil(length * scales[-1] - _SAME_SPACING_PIXELS)))
    if resampling is not None:
        return _centred(shape, tuple(scales), resampling)
    return Frame(native_shape=shape, model_shape=tuple(lengths), scale=tuple(scales))


def _centred(shape: tuple[int, ...], scale: tuple[float, ...], resampling: CentredResampling) -> Frame:
    """Do as ``compute_shape_offset`` of MONAI does."""
    lengths = tuple(round((length - 1) * along + 1) for length, along in zip(shape, scale, strict=True))
    orders: tuple[tuple[Order, Order], ...] = ((1, 0),) * len(shape) if resampling.back == "labels" else ()
    return Frame(native_shape=shape, model_shape=lengths, scale=scale, orders=orders, anchor=0.0)


def part_of(frame: Frame, part: Box) -> Frame:
    """Return the frame of a network that looks at a part of its grid.

    What comes back from there is laid into zeros and brought to the native grid: a native pixel is answered for where
    a pixel of the part has a share in it.
    """
    if part == Box.of_shape(frame.model_shape):
        return frame
    low, high = [], []
    nearest = [back == 0 for _, back in frame.orders] or [False] * len(frame.scale)
    sides = zip(frame.native_shape, frame.model_shape, frame.scale, part.start, part.stop, nearest, strict=True)
    for length, whole, scale, start, stop, is_nearest in sides:
        place = np.clip((np.arange(length) + frame.anchor) * scale - frame.anchor, 0, whole - 1)
        place = np.rint(place) if is_nearest else place
        inside = (place >= start) & (place <= stop - 1) if is_nearest else (place > start - 1) & (place < stop)
        answered = np.flatnonzero(inside)
        low.append(int(answered[0]) if answered.size else 0)
        high.append(int(answered[-1]) + 1 if answered.size else 0)
    return replace(frame, model_shape=part.shape, first=part.start, seen=Box(tuple(low), tuple(high)))


def _stretched(
    shape: tuple[int, ...],
    crop: Box | None,
    spacing_mm: tuple[float, ...],
    wanted_mm: tuple[float, ...],
    resampling: Resampling,
) -> Frame:
    """Do as ``compute_new_shape`` and ``determine_do_sep_z_and_axis`` of nnU-Net v2 do."""
    covered = shape if crop is None else crop.shape
    sizes = zip(covered, spacing_mm, wanted_mm, strict=True)
    lengths = tuple(max(1, round(own / wanted * length)) for length, own, wanted in sizes)
    there = _thick_axis(spacing_mm, wanted_mm, resampling.nearest_above)
    back = _thick_axis(wanted_mm, spacing_mm, resampling.nearest_above)
    orders = tuple(_orders(axis, resampling.order, there, back) for axis in range(len(shape)))
    scale = tuple(after / before for after, before in zip(lengths, covered, strict=True))
    return Frame(native_shape=shape, model_shape=lengths, scale=scale, crop=crop, orders=orders)


def _orders(axis: int, order: Order, there: int | None, back: int | None) -> tuple[Order, Order]:
    return (0 if axis == there else order), (0 if axis == back else 1)


def _thick_axis(before: tuple[float, ...], after: tuple[float, ...], ratio: float | None) -> int | None:
    """Return the axis of thick slices, of the first of two spacings that has any; None where there is not just one."""
    for spacing in (before, after):
        if ratio is not None and max(spacing) / min(spacing) > ratio:
            thick = [axis for axis, length in enumerate(spacing) if length == max(spacing)]
            return thick[0] if len(thick) == 1 else None
    return None
