"""The two diameters of a lesion in one axial slice, as RECIST and RANO take them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.answers.tumour.components import Part
from tasks.answers.tumour.outline import Longest, longest_in_slices, numbered_pieces

Floats = NDArray[np.float64]
# Marching squares: corners of a cell in the order of its bits, and which of its sides (from each corner to the
# next) the contour joins. Opposite corners are held apart.
_CORNERS = np.array([(0.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.0)])
_JOINED: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((3, 0),), 2: ((0, 1),), 3: ((3, 1),), 4: ((1, 2),), 5: ((3, 0), (1, 2)), 6: ((0, 2),), 7: ((3, 2),),
    8: ((2, 3),), 9: ((2, 0),), 10: ((0, 1), (2, 3)), 11: ((2, 1),), 12: ((1, 3),), 13: ((1, 0),), 14: ((0, 3),),
}  # fmt: skip
_BEYOND_VOXELS = 0.25
_CUTS = 1 << 17
_SAME = 1e-9
_STEP_VOXELS = 0.25


@dataclass(frozen=True)
class Line:
    """A measured line.

    Attributes:
        length_mm: Its length.
        start: In voxels of the lesion's box; voxel centres are whole.
        stop: See ``start``.
        leaves_lesion: Whether it passes where none of the four voxels round it is that piece of the lesion's.
    """

    length_mm: float
    start: tuple[float, ...]
    stop: tuple[float, ...]
    leaves_lesion: bool


@dataclass(frozen=True)
class AxialDiameters:
    """The longest diameter in any slice, and the longest line square to it in the same slice.

    Attributes:
        plane: Of the lesion's box, across its first axis.
        long: RECIST's longest diameter.
        short: RECIST's short axis.
    """

    plane: int
    long: Line
    short: Line

    @property
    def product_mm2(self) -> float:
        """Product of both, as Macdonald and RANO take it."""
        return self.long.length_mm * self.short.length_mm


def axial_diameters(part: Part) -> AxialDiameters:
    """Measure a lesion in the slice where it is longest; the first of equal slices.

    Lines end a quarter of a voxel beyond the centres of outer voxels, as ``longest_in_slices`` says. Where the
    lesion has several pieces in a slice, each is measured by itself: no line goes from one to the other.

    Args:
        part: The lesion, slices along its first axis.
    """
    long = longest_in_slices(part)
    plane = round(long.start[0])
    pieces = numbered_pieces(part.planes(plane, plane + 1))[0]
    row, col = (round(value) + 1 for value in long.start[1:])
    inside = pieces == pieces[row, col]
    short = _short_axis(inside, plane, long, part.axes_mm)
    lines = (Line(line.length_mm, line.start, line.stop, _leaves(inside, line)) for line in (long, short))
    return AxialDiameters(plane, *lines)


def _short_axis(inside: NDArray[np.bool_], plane: int, long: Longest, axes_mm: Floats) -> Longest:
    along = axes_mm @ (np.array(long.stop) - long.start)
    along /= np.linalg.norm(along)
    square = np.cross(np.cross(axes_mm[:, 1], axes_mm[:, 2]), along)
    square /= np.linalg.norm(square)
    # Rows and cols on the plane of the two lines, and back.
    to_plane = np.stack((along, square)) @ axes_mm[:, 1:]
    contour = _contour(inside)
    cuts = contour @ to_plane.T
    places = np.unique(cuts[..., 0])
    low, high = _widths(cuts, places)
    widths = high - low
    best = int(np.flatnonzero(widths >= widths.max() * (1 - _SAME))[0])
    back = np.linalg.inv(to_plane)
    ends = [(float(plane), *(back @ (places[best], end)).tolist()) for end in (low[best], high[best])]
    return Longest(float(widths[best]), ends[0], ends[1])


def _contour(inside: NDArray[np.bool_]) -> Floats:
    """Return the contour's pieces ``(n, 2 ends, 2)`` of a padded slice, in rows and cols of the unpadded one."""
    bits = (inside[:-1, :-1], inside[:-1, 1:], inside[1:, 1:], inside[1:, :-1])
    cases = sum(bit.astype(np.uint8) << k for k, bit in enumerate(bits))
    pieces: list[Floats] = []
    for case, joined in _JOINED.items():
        corners = np.argwhere(cases == case) - 1.0
        pieces.extend(corners[:, None] + _places(case)[list(sides)] for sides in joined)
    return np.concatenate(pieces)


def _places(case: int) -> Floats:
    """Return where the contour would cut each side of a cell, a quarter of it from the corner that is inside."""
    following = np.roll(_CORNERS, -1, axis=0)
    share = np.array([_BEYOND_VOXELS if case >> bit & 1 else 1.0 - _BEYOND_VOXELS for bit in range(4)])
    return np.asarray(_CORNERS + share[:, None] * (following - _CORNERS))


def _widths(cuts: Floats, places: Floats) -> tuple[Floats, Floats]:
    """Return where a line across ``places`` first and last meets the contour.

    Between two vertices the distance is linear, so that it is longest at one of them.
    """
    order = np.argsort(cuts[..., 0], axis=1)
    ends = np.take_along_axis(cuts, order[..., None], axis=1)
    (t1, s1), (t2, s2) = ends[:, 0].T, ends[:, 1].T
    low, high = np.empty(len(places)), np.empty(len(places))
    step = max(1, _CUTS // len(t1))
    for start in range(0, len(places), step):
        t = places[start : start + step, None]
        share = np.divide(t - t1, t2 - t1, out=np.zeros((len(t), len(t1))), where=t2 > t1)
        meets = (t >= t1) & (t <= t2)
        here = s1 + np.clip(share, 0.0, 1.0) * (s2 - s1)
        is_along = meets & (t1 == t2)
        low[start : start + step] = np.where(meets, np.where(is_along, np.minimum(s1, s2), here), np.inf).min(axis=1)
        high[start : start + step] = np.where(meets, np.where(is_along, np.maximum(s1, s2), here), -np.inf).max(axis=1)
    return low, high


def _leaves(inside: NDArray[np.bool_], line: Longest) -> bool:
    start, stop = (np.array(end[1:]) + 1.0 for end in (line.start, line.stop))
    n = max(2, int(np.ceil(np.abs(stop - start).max() / _STEP_VOXELS)) + 1)
    points = start + np.linspace(0.0, 1.0, n)[:, None] * (stop - start)
    near = np.zeros(n, np.bool_)
    for rows in (np.floor(points[:, 0]), np.ceil(points[:, 0])):
        for cols in (np.floor(points[:, 1]), np.ceil(points[:, 1])):
            near |= inside[rows.astype(int), cols.astype(int)]
    return not bool(near.all())
