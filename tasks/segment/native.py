"""Blended scores, brought from the network's grid back to the input's, a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from array_api_compat import array_namespace

from models.predictor import DeviceArray
from tasks.geometry.box import Box
from tasks.geometry.frame import Frame
from tasks.geometry.resample import model_box, to_native, to_native_maps

# Scores of this many native rows, all classes, exist at a time.
_ROWS = 16


def native_slabs(
    slabs: Iterator[tuple[int, DeviceArray]], frame: Frame, block: Box
) -> Iterator[tuple[int, DeviceArray]]:
    """Interpolate slabs of the model grid at the pixels of a native block.

    Args:
        slabs: ``(first model row, scores (classes, rows, ...))``, without gaps, over what ``model_box`` names.
        frame: The two grids.
        block: In the native grid.

    Yields:
        ``(first native row, scores (classes, rows, ...))``, top down.
    """
    if frame.is_identity:
        yield from slabs
        return
    region = model_box(block, frame)
    rows = to_native_maps(block, frame)[0].sources
    done, pending, first = 0, None, region.start[0]
    for row, slab in slabs:
        pending = slab if pending is None else array_namespace(slab).concat([pending, slab], axis=1)
        ready = int(np.searchsorted(rows[-1], row + slab.shape[1], side="left"))
        while done < ready:
            stop = min(done + _ROWS, ready)
            box = Box((block.start[0] + done, *block.start[1:]), (block.start[0] + stop, *block.stop[1:]))
            yield box.start[0], to_native(pending, (first, *region.start[1:]), box, frame)
            done = stop
        if done < rows.shape[1]:
            # The next one may need none of the rows that are there.
            keep = min(int(rows[0, done]), row + slab.shape[1])
            pending, first = pending[:, keep - first :], keep
