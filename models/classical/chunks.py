"""Pixels a few at a time, such that each one's numbers are the same wherever in an array it lies."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

# As many as stay in the processor's cache, so that what lies between costs no memory.
_CHUNK = 1 << 15
# Chunks are filled up to a multiple of this, so that no pixel passes through the loops that NumPy keeps for
# the ends of arrays: their logarithms may differ in the last bit, and with them the mask between blocks.
_LANES = 64


def chunks(values: NDArray[np.float32]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield the columns of ``(rows, pixels)`` in float64.

    Yields:
        Where they belong, and ``(rows, pixels)`` with ones behind the last of them.
    """
    for start in range(0, values.shape[1], _CHUNK):
        part = values[:, start : start + _CHUNK]
        padded = np.ones((len(values), -(-part.shape[1] // _LANES) * _LANES), np.float64)
        padded[:, : part.shape[1]] = part
        yield slice(start, start + part.shape[1]), padded
