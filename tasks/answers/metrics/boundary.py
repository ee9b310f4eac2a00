"""Where a class ends: the elements of its surface and the pixels at its edge, found slab by slab."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.answers.metrics.pair import Labels, MaskPair, Slab, slabs
from tasks.answers.metrics.surface_area import corners

# Points of one boundary; more would need more than about 0.5 GB for the search of nearest neighbours.
MOST_POINTS = 4_000_000


@dataclass(frozen=True)
class Elements:
    """Elements of a surface, at the corners between pixels.

    Attributes:
        places: Int32 ``(n, axes)``: corner ``i`` lies before pixel ``i``.
        codes: Uint8 ``(n,)``: the neighbourhood's code, as in ``surface_area.element_sizes``.
    """

    places: NDArray[np.int32]
    codes: NDArray[np.uint8]


@dataclass(frozen=True)
class Boundary:
    """The boundary of a class in one mask, in both definitions.

    Attributes:
        elements: Neighbourhoods of 2 x 2 (x 2) pixels of which some, not all, hold the class.
        edge: Int32 ``(n, axes)``: pixels of the class one of whose face neighbours is outside, the erosion's rest.
    """

    elements: Elements
    edge: NDArray[np.int32]


class TooManyPointsError(ValueError):
    """A boundary has more points than are searched in memory."""


def boundaries(pair: MaskPair, label: int, most_points: int = MOST_POINTS) -> tuple[Boundary, Boundary]:
    """Find the boundaries of a class in the prediction and in the reference.

    Beyond the masks lies background, as in surface-distance, MONAI and MedPy. What is not observed has no boundary:
    elements and edge pixels that touch a pixel which one of the masks leaves open are left out of both.

    Args:
        pair: Two masks.
        label: The class.
        most_points: Of one boundary.

    Raises:
        TooManyPointsError: When there are more.
    """
    pieces: tuple[list[_Piece], list[_Piece]] = ([], [])
    n_points = np.zeros((2, 2), np.int64)
    for slab in slabs(pair.shape):
        for mask, piece in enumerate(_pieces(pair, slab, label)):
            pieces[mask].append(piece)
            n_points[mask] += piece.codes.size, piece.edge.shape[0]
        if n_points.max() > most_points:
            raise TooManyPointsError(f"a boundary has more than {most_points:,} points")
    predicted, reference = (_joined(found) for found in pieces)
    return predicted, reference


@dataclass(frozen=True)
class _Piece:
    places: NDArray[np.int32]
    codes: NDArray[np.uint8]
    edge: NDArray[np.int32]


def _pieces(pair: MaskPair, slab: Slab, label: int) -> Iterator[_Piece]:
    box = slab.box(pair.shape, 1, 1)
    window = pair.read(box)
    # One plane of background on every side of the masks, and of the slab where they go on.
    above, below = int(slab.start == 0), int(slab.is_last)
    rim = ((above, below), *((1, 1) for _ in pair.shape[1:]))
    observed = np.pad(window.observed, rim, constant_values=True)
    origin = np.array([slab.start, *(0 for _ in pair.shape[1:])], np.int32)
    n_corners = slab.stop - slab.start + int(slab.is_last)
    for mask in (window.predicted, window.reference):
        inside = np.pad(_holds(mask, window.observed, label), rim)
        places, codes = _elements(inside, observed, n_corners)
        yield _Piece(places + origin, codes, _edge(inside, observed) + origin)


def _holds(mask: Labels, observed: NDArray[np.bool_], label: int) -> NDArray[np.bool_]:
    holds: NDArray[np.bool_] = (mask == label) & observed
    return holds


def _elements(
    inside: NDArray[np.bool_], observed: NDArray[np.bool_], n_corners: int
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Return the elements at the first ``n_corners`` planes of corners; both arrays have a rim of one pixel."""
    n_axes = inside.ndim
    if not inside.any():
        return np.zeros((0, n_axes), np.int32), np.zeros(0, np.uint8)
    shape = (n_corners, *(length - 1 for length in inside.shape[1:]))
    code = np.zeros(shape, np.uint8)
    seen = np.ones(shape, np.bool_)
    for bit, corner in enumerate(corners(n_axes)):
        part = tuple(slice(start, start + length) for start, length in zip(corner, shape, strict=True))
        code |= inside[part].astype(np.uint8) << bit
        seen &= observed[part]
    full = (1 << (1 << n_axes)) - 1
    found = (code != 0) & (code != full) & seen
    return np.argwhere(found).astype(np.int32), code[found]


def _edge(inside: NDArray[np.bool_], observed: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return the edge pixels within the rim."""
    core = tuple(slice(1, -1) for _ in inside.shape)
    found, seen = np.zeros_like(inside[core]), observed[core].copy()
    if not inside.any():
        return np.zeros((0, inside.ndim), np.int32)
    for axis in range(inside.ndim):
        for start, stop in ((0, -2), (2, None)):
            beside = (*core[:axis], slice(start, stop), *core[axis + 1 :])
            found |= ~inside[beside]
            seen &= observed[beside]
    return np.argwhere(found & inside[core] & seen).astype(np.int32)


def _joined(pieces: list[_Piece]) -> Boundary:
    places = np.concatenate([piece.places for piece in pieces])
    codes = np.concatenate([piece.codes for piece in pieces])
    return Boundary(Elements(places, codes), np.concatenate([piece.edge for piece in pieces]))
