"""What a pixel of the output depends on: an interval along one axis, walked back layer by layer to the input."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Interval: TypeAlias = tuple[int, int]
"""First and last pixel; nothing where the first lies behind the last."""


def convolved(interval: Interval, kernel: int, stride: int = 1, dilation: int = 1) -> Interval:
    """Return what a convolution or a pooling reads whose padding is half of its window."""
    low, high = interval
    if low > high:
        return interval
    padding = dilation * (kernel - 1) // 2
    return low * stride - padding, high * stride - padding + dilation * (kernel - 1)


def pooled(interval: Interval, stride: int) -> Interval:
    """Return what a pooling without padding or overlap reads."""
    low, high = interval
    return (low * stride, high * stride + stride - 1) if low <= high else interval


def union(*intervals: Interval) -> Interval:
    """Return the interval from the first to the last pixel of all."""
    full = [(low, high) for low, high in intervals if low <= high]
    return (min(low for low, _ in full), max(high for _, high in full)) if full else (1, 0)


def diameter(read: Callable[[Interval], Interval], stride: int) -> int:
    """Return the receptive field: twice the furthest reach of any pixel, and the pixel itself.

    Args:
        read: From pixels of the output to those of the input.
        stride: Of the network: a pixel's reach depends on its place in the coarsest cell.
    """
    furthest = 0
    for place in range(stride):
        low, high = read((place, place))
        if low <= high:
            furthest = max(furthest, place - low, high - place)
    return 2 * furthest + 1
