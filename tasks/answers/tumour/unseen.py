"""Voxels of a mask that were not observed: what lies there is not known, and is not background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, generate_binary_structure

from tasks.geometry.box import Box

_CONNECTIVITIES = (6, 18, 26)


@dataclass(frozen=True, eq=False)
class Unseen:
    """Which voxels were not observed, in an eighth of a byte per voxel.

    Attributes:
        bits: Of every plane and row, its cols packed: ``depth, rows, ceil(cols / 8)``.
        cols: Of the mask.
    """

    bits: NDArray[np.uint8]
    cols: int

    def at(self, voxels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell of voxels ``(n, 3)`` of the mask which were not observed."""
        plane, row, col = voxels.T
        shift = (7 - (col & 7)).astype(np.uint8)
        return np.asarray((self.bits[plane, row, col >> 3] >> shift) & 1, np.bool_)

    def beside(self, numbers: NDArray[Any], window: Box, connectivity: int) -> NDArray[np.int64]:
        """Return the component numbers that have a neighbour which was not observed; plane by plane.

        Args:
            numbers: Of components, inside ``window``.
            window: Of the mask.
            connectivity: Which voxels are neighbours.
        """
        structure = generate_binary_structure(3, _CONNECTIVITIES.index(connectivity) + 1)
        found = [np.zeros(0, np.int64)]
        for index, plane in enumerate(range(window.start[0], window.stop[0])):
            around = np.stack([self._plane(near, window) for near in (plane - 1, plane, plane + 1)])
            if around.any():
                reach = binary_dilation(around, structure)[1, 1:-1, 1:-1]
                found.append(np.unique(numbers[index][reach]).astype(np.int64))
        touched = np.unique(np.concatenate(found))
        return np.asarray(touched[touched > 0])

    def _plane(self, plane: int, window: Box) -> NDArray[np.bool_]:
        """Return a plane of ``window`` with one voxel more on every side; beyond the mask nothing is."""
        rows, cols = (slice(start, stop + 2) for start, stop in zip(window.start[1:], window.stop[1:], strict=True))
        padded = np.zeros((self.bits.shape[1] + 2, self.cols + 2), np.bool_)
        if 0 <= plane < len(self.bits):
            padded[1:-1, 1:-1] = np.unpackbits(self.bits[plane], axis=1, count=self.cols)
        return padded[rows, cols]


def find_unseen(mask: NDArray[np.unsignedinteger[Any]]) -> Unseen | None:
    """Return which voxels were not observed: the highest value of the mask's type; None where all were."""
    value, bits = np.iinfo(mask.dtype).max, None
    for index, plane in enumerate(mask):
        missing = plane == value
        if missing.any():
            if bits is None:
                bits = np.zeros((*mask.shape[:2], -(-mask.shape[2] // 8)), np.uint8)
            bits[index] = np.packbits(missing, axis=1)
    return None if bits is None else Unseen(bits, mask.shape[2])
