"""Gives the pixels of a border that was drawn between objects to the nearest of them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.geometry.box import Box, split

# Steps from an object to the last pixel of a border that can become its own.
REACH = 64
_NONE = np.uint32(np.iinfo(np.uint32).max)


class Painted(Protocol):
    """An array in memory, or a scratch array on disk."""

    def __getitem__(self, index: tuple[slice, ...]) -> Any: ...  # noqa: ANN401 - whatever the store returns

    def __setitem__(self, index: tuple[slice, ...], values: NDArray[np.uint32]) -> None: ...


def grow_by_windows(
    is_border: Callable[[Box], NDArray[np.bool_]],
    shape: tuple[int, ...],
    window: tuple[int, ...],
    rank: int,
    painted: Painted,
) -> None:
    """Let objects grow into a border as ``grow`` does, with a window and its margin in memory at a time.

    Args:
        is_border: Reads which pixels of a window may be taken.
        shape: Of the scene.
        window: How much is done at a time; changes nothing else.
        rank: As of ``grow``.
        painted: Ids of objects, 0 outside; changed in place.
    """
    for box in split(shape, window):
        wide = Box(tuple(a - REACH for a in box.start), tuple(b + REACH for b in box.stop))
        wide = wide.intersection(Box.of_shape(shape))
        border = is_border(wide)
        if not border.any():
            continue
        ids = np.array(painted[wide.slices])
        # Neighbouring windows have already taken some.
        ids[border] = 0
        grow(ids, border, rank)
        painted[box.slices] = ids[box.relative_to(wide.start).slices]


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
