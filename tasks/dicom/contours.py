"""Contours to pixels: by pixel centres, even and odd, so that a contour in a contour is a hole."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

FEWEST_POINTS = 3


def filled(contours: Iterable[NDArray[np.float64]], rows: int, cols: int) -> NDArray[np.bool_]:
    """Fill closed contours of one plane; where several lie over one another, they combine by exclusive or.

    A pixel belongs to them where a line from its centre to the left crosses them an odd number of times. A centre on
    a left or upper edge is inside, one on a right or lower edge is not, so that contours with a common edge share no
    pixel. A channel of no width, which joins a hole to its outer contour, cancels itself. What lies outside the
    picture is clipped.

    Args:
        contours: Each ``(points, 2)``: row and column, pixel centres being whole numbers.
        rows: Of the picture.
        cols: Of the picture.

    Returns:
        ``(rows, cols)``.
    """
    crossed = np.zeros((rows, cols + 1), np.int64)
    for contour in contours:
        _cross(crossed, contour)
    inside: NDArray[np.bool_] = np.cumsum(crossed, axis=1)[:, :cols] % 2 == 1
    return inside


def area_of(contour: NDArray[np.float64]) -> float:
    """Return the area that a closed contour goes round, in pixels; arguments as above."""
    row, col = contour[:, 0], contour[:, 1]
    return abs(float(row @ np.roll(col, -1) - col @ np.roll(row, -1))) / 2


def _cross(crossed: NDArray[np.int64], contour: NDArray[np.float64]) -> None:
    """Count, at the first pixel that lies right of it, each crossing of a row's centre line."""
    rows, cols = crossed.shape[0], crossed.shape[1] - 1
    for (row, col), (next_row, next_col) in zip(contour, np.roll(contour, -1, axis=0), strict=True):
        low, high = min(row, next_row), max(row, next_row)
        first, last = max(0, int(np.ceil(low))), min(rows, int(np.ceil(high)))
        if first >= last:
            continue
        lines = np.arange(first, last)
        at = col + (lines - row) * (next_col - col) / (next_row - row)
        starts = np.clip(np.ceil(at), 0, cols).astype(np.int64)
        crossed[lines, starts] += 1
