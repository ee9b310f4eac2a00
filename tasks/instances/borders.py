"""Gives the pixels of a border that was drawn between objects to the nearest of them."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

# Steps from an object to the last pixel of a border that can become its own.
REACH = 64
_NONE = np.uint32(np.iinfo(np.uint32).max)


def grow(ids: NDArray[np.uint32], border: NDArray[np.bool_], rank: int, reach: int = REACH) -> None:
    """Let objects grow into a border, all at one pace: the watershed of a flat landscape.

    A pixel goes to the object that reaches it first through the border; of several, to the one with the lowest id.
    After ``reach`` steps a pixel depends on what lies within as many pixels of it and on nothing else, so that a
    window with a margin of that width gives what the whole gives.

    Args:
        ids: Of objects, 0 outside; changed in place.
        border: Which pixels may be taken; they hold no id.
        rank: Along how many axes neighbours may differ: 1 for those at faces.
        reach: Most steps.
    """
    free = np.argwhere(border & (ids == 0))
    moves = [np.array(move) for move in product((-1, 0, 1), repeat=ids.ndim) if 0 < np.count_nonzero(move) <= rank]
    for _ in range(reach):
        nearest = np.full(len(free), _NONE, np.uint32)
        for move in moves:
            np.minimum(nearest, _beside(ids, free + move), out=nearest)
        reached = nearest < _NONE
        if not reached.any():
            break
        ids[tuple(free[reached].T)] = nearest[reached]
        free = free[~reached]


def _beside(ids: NDArray[np.uint32], places: NDArray[np.intp]) -> NDArray[np.uint32]:
    """Return the ids at places that may lie outside; the highest number for none."""
    inside = ((places >= 0) & (places < ids.shape)).all(axis=1)
    found = np.full(len(places), _NONE, np.uint32)
    values = ids[tuple(places[inside].T)]
    found[inside] = np.where(values > 0, values, _NONE)
    return found
