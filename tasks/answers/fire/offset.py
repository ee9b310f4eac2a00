"""The dNBR of unburned ground round the fires, which a change of season or haze leaves in every pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from tasks.answers.components import WINDOW, Inside
from tasks.geometry.box import Box, split

# dNBR is counted in steps of 0.001, so that no sum depends on the windows.
_STEP = 0.001
_REACH = 2000
_FEWEST = 100


@dataclass(frozen=True)
class Offset:
    """What is taken off dNBR.

    Attributes:
        value: In units of dNBR.
        source: Where it comes from.
        ring_pixels: Pixels that it was taken from; None where it is no ring's.
        reason: Why a ring that was asked for gave none; None otherwise.
    """

    value: float
    source: str
    ring_pixels: int | None = None
    reason: str | None = None


def ring_offset(
    burned: Inside,
    dnbr: Callable[[Box], NDArray[np.float32]],
    shape: tuple[int, int],
    pixel_m: tuple[float, float],
    ring_m: tuple[float, float],
) -> Offset:
    """Return the median dNBR of a ring round everything that is burned (Key and Benson 2006, on dNBR offsets).

    Args:
        burned: Reads a window of the burned area, fires below the minimum mapping unit included.
        dnbr: Reads a window of dNBR, NaN where not known.
        shape: Rows and columns.
        pixel_m: Size of a pixel on the ground, ``rows, cols``, in metres.
        ring_m: From and to which distance of a burned pixel the ring reaches, in metres.
    """
    counts = np.zeros(2 * _REACH + 1, np.int64)
    halo = tuple(ceil(ring_m[1] / side) for side in pixel_m)
    for box in split(shape, WINDOW):
        wide = Box(
            tuple(max(0, a - h) for a, h in zip(box.start, halo, strict=True)),
            tuple(min(n, b + h) for b, h, n in zip(box.stop, halo, shape, strict=True)),
        )
        near = burned(wide)
        if not near.any():
            continue
        distance = distance_transform_edt(~near, sampling=pixel_m)[box.relative_to(wide.start).slices]
        values = dnbr(box)[(distance > ring_m[0]) & (distance <= ring_m[1])]
        steps = np.rint(values[np.isfinite(values)] / _STEP).clip(-_REACH, _REACH).astype(np.intp)
        counts += np.bincount(steps + _REACH, minlength=len(counts))
    total = int(counts.sum())
    if total < _FEWEST:
        reason = f"the ring holds {total} observed unburned pixels, fewer than {_FEWEST}"
        return Offset(0.0, "none", total, reason)
    return Offset(round(_median(counts), 4), "ring", total)


def _median(counts: NDArray[np.int64]) -> float:
    total, running = int(counts.sum()), np.cumsum(counts)
    middle = [int(np.searchsorted(running, rank, side="right")) for rank in ((total - 1) // 2, total // 2)]
    return (sum(middle) / 2 - _REACH) * _STEP
