"""Two masks on one grid, read slab by slab."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tasks.geometry.box import Box

Labels: TypeAlias = NDArray[np.integer[Any]]
# Slabs bound memory; no result depends on them.
SLAB_PIXELS = 1 << 21


@dataclass(frozen=True, kw_only=True)
class Window:
    """The same window of both masks.

    Attributes:
        predicted: Class numbers, not negative; anything where not observed.
        reference: Class numbers of the same shape.
        observed: Bool: where both masks answer.
        predicted_seen: Where the prediction answers; None for the same as ``observed``.
        reference_seen: Where the reference does.
    """

    predicted: Labels
    reference: Labels
    observed: NDArray[np.bool_]
    predicted_seen: NDArray[np.bool_] | None = None
    reference_seen: NDArray[np.bool_] | None = None


# Of a pixel: its size along each axis; where axes are not square to each other, the steps along them as vectors.
Steps: TypeAlias = tuple[float, ...] | tuple[tuple[float, ...], ...]


def step_vectors(steps: Steps) -> NDArray[np.float64]:
    """Return the step along each axis as a row."""
    found = np.array(steps, np.float64)
    return np.diag(found) if found.ndim == 1 else found


@dataclass(frozen=True, kw_only=True)
class MaskPair:
    """A prediction and its reference on one grid.

    Attributes:
        id: What the pair is called.
        shape: ``rows, cols`` or ``depth, rows, cols``.
        read: Reads a window.
        spacings: Size of a pixel along each axis by unit: ``px``, ``m``, ``mm``; steps as vectors where it is sheared.
        names: Of classes, by number, where a mask names them.
        notes: What was done to bring the masks together, and what a reader has to know.
        ids: Reads the ids of objects in a window of prediction and reference, 0 for none; None where a mask has none.
    """

    id: str
    shape: tuple[int, ...]
    read: Callable[[Box], Window]
    spacings: Mapping[str, Steps]
    names: dict[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    ids: Callable[[Box], tuple[Labels, Labels]] | None = None


@dataclass(frozen=True)
class Slab:
    """A piece of a pair, cut across the first axis.

    Attributes:
        start: First index along the first axis.
        stop: One past the last.
        is_last: Whether the masks end with it.
    """

    start: int
    stop: int
    is_last: bool

    def box(self, shape: tuple[int, ...], before: int = 0, after: int = 0) -> Box:
        """Return its window, with so many planes more at both sides as far as there are any."""
        start, stop = max(0, self.start - before), min(shape[0], self.stop + after)
        return Box((start, *(0 for _ in shape[1:])), (stop, *shape[1:]))


def slabs(shape: tuple[int, ...], pixels: int | None = None) -> Iterator[Slab]:
    """Yield the slabs that partition ``shape``, each of about ``pixels`` and at least one plane."""
    planes = max(1, (pixels or SLAB_PIXELS) // max(1, math.prod(shape[1:])))
    for start in range(0, shape[0], planes):
        stop = min(start + planes, shape[0])
        yield Slab(start, stop, stop == shape[0])


def pair_of(
    predicted: Labels,
    reference: Labels,
    observed: NDArray[np.bool_] | None = None,
    spacings: Mapping[str, Steps] | None = None,
) -> MaskPair:
    """Return two arrays of one shape as a pair.

    Args:
        predicted: Class numbers.
        reference: Class numbers.
        observed: Where both masks answer; None for everywhere.
        spacings: Size of a pixel by unit; None for ``px`` alone.
    """
    seen = np.ones(predicted.shape, np.bool_) if observed is None else observed

    def read(box: Box) -> Window:
        return Window(predicted=predicted[box.slices], reference=reference[box.slices], observed=seen[box.slices])

    return MaskPair(id="arrays", shape=predicted.shape, read=read, spacings=spacings or {"px": (1.0,) * predicted.ndim})
