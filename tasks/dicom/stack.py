"""Slices in the order in which they lie in the patient, and whether they are a regular stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.dicom.findings import Finding, SeriesError
from tasks.dicom.instance import Slice

# How far a slice may lie from where an even stack would have it: a hundredth of the gap, or what the header's
# rounding of x, y and z to a tenth of a millimetre does, but never a tenth of the gap.
EVEN_SHARE = 0.01
EVEN_MM = 0.05
EVEN_MOST_SHARE = 0.1
# Slices closer than this, along their normal, lie in one place; or than a tenth of their thickness.
SAME_PLACE_MM = 0.02
SAME_PLACE_SHARE = 0.1
# Steps that lean by more than this against the normal are of a tilted gantry: half a millimetre in 300. What leans by
# less than the header's rounding over the whole stack is none.
TILT_DEGREES = 0.1
TILT_MM = 2 * EVEN_MM * 3**0.5
# No gantry leans by more: positions and directions of such slices contradict each other.
MOST_TILT_DEGREES = 45.0
# How far lengths of directions may be from 1, and their cosine from 0.
SQUARE = 0.005
_ROUNDED_MM = 1e-6
_HALVINGS = 60


@dataclass(frozen=True)
class Stack:
    """An even stack.

    Attributes:
        slices: Sorted along the normal.
        step_mm: From one slice to the next, left-posterior-superior.
        notes: What a user should know.
    """

    slices: tuple[Slice, ...]
    step_mm: tuple[float, float, float]
    notes: tuple[Finding, ...] = ()


def squared(orientation: Sequence[float]) -> tuple[float, ...]:
    """Return directions of unit length at right angles to each other, which those of a header are but for rounding.

    Raises:
        SeriesError: When they are far from it.
    """
    row, col = np.array(orientation[:3], np.float64), np.array(orientation[3:], np.float64)
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(col))
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(float(row @ col))) > SQUARE:
        raise SeriesError(Finding("not_placed", "the directions of rows and columns do not stand at right angles"))
    row = row / lengths[0]
    col = col - (col @ row) * row
    col = col / np.linalg.norm(col)
    return tuple(float(value) for value in (*row, *col))


def normal_of(orientation: Sequence[float]) -> NDArray[np.float64]:
    """Return the direction in which slices are counted: row direction x column direction, which are squared."""
    return np.cross(orientation[:3], orientation[3:])


def places_along(slices: Sequence[Slice], orientation: Sequence[float]) -> list[int]:
    """Return for each slice the number of its place along the normal; slices in one place have one number."""
    along = _positions(slices) @ normal_of(orientation)
    thinnest = min((plane.thickness_mm for plane in slices if plane.thickness_mm), default=np.inf)
    apart = min(SAME_PLACE_MM, SAME_PLACE_SHARE * abs(thinnest))
    order = np.argsort(along, kind="stable")
    number = np.concatenate([[0], np.cumsum(np.diff(along[order]) > apart)])
    places = np.empty(len(slices), np.int64)
    places[order] = number
    return [int(place) for place in places]


def stacked(slices: Sequence[Slice], orientation: Sequence[float]) -> Stack:
    """Sort slices along their normal and hold them to be an even stack.

    Raises:
        SeriesError: When there is one slice only, or slices are missing, doubled or unevenly spaced.
    """
    if len(slices) < 2:
        raise SeriesError(Finding("too_few_slices", "one slice is no volume: its depth is not known"))
    normal = normal_of(orientation)
    positions = _positions(slices)
    order = np.argsort(positions @ normal, kind="stable")
    ordered, positions = tuple(slices[k] for k in order), positions[order]
    gaps = np.diff(positions @ normal)
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    gap = float(step @ normal)
    sideways = float(np.linalg.norm(step - gap * normal))
    lean = float(np.degrees(np.arctan2(sideways, gap)))
    is_tilted = lean > TILT_DEGREES and sideways * (len(slices) - 1) > TILT_MM
    is_even = all(
        _off_line(positions @ axis)
        <= min(max(EVEN_SHARE * gap, EVEN_MM * float(np.abs(axis).sum())), EVEN_MOST_SHARE * gap) + _ROUNDED_MM
        for axis in np.array([orientation[:3], orientation[3:], normal])
    )
    if is_tilted and lean > MOST_TILT_DEGREES:
        text = f"slices lean by {lean:.1f} degrees, as no gantry does: positions and directions contradict each other"
        raise SeriesError(Finding("gantry_tilt", text))
    if not is_even:
        raise SeriesError(_unevenness(gaps, ordered, lean if is_tilted else None))
    # What leans by less is the rounding of positions: the stack then is one of right angles.
    x, y, z = (float(value) for value in (step if is_tilted else gap * normal))
    return Stack(ordered, (x, y, z), tuple(_notes(len(slices), lean, is_tilted)))


def _off_line(along: NDArray[np.float64]) -> float:
    """Return how far the furthest coordinate lies from even ones, of which those are taken that make it least far.

    An even stack that a header rounds to a tenth is never further off than half of that; from the line of least squares
    it may be.
    """
    number = np.arange(len(along), dtype=np.float64)

    def width(slope: float) -> float:
        return float(np.ptp(along - slope * number))

    middle = float(along[-1] - along[0]) / (len(along) - 1)
    # The width is convex, and its lowest point cannot lie further from the slope of the ends.
    reach = 2 * width(middle) / (len(along) - 1)
    low, high = middle - reach, middle + reach
    for _ in range(_HALVINGS):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, right) if width(left) <= width(right) else (left, high)
    return width((low + high) / 2) / 2


def _notes(n_slices: int, lean: float, is_tilted: bool) -> list[Finding]:
    notes = []
    if is_tilted:
        notes.append(
            Finding("gantry_tilt", f"slices lean by {lean:.1f} degrees: the affine is sheared, nothing was resampled")
        )
    if n_slices < 3:
        notes.append(Finding("too_few_slices", f"{n_slices} slices: whether one is missing cannot be told"))
    return notes


def _unevenness(gaps: NDArray[np.float64], slices: Sequence[Slice], lean: float | None) -> Finding:
    """Name what is wrong with the gaps of slices that are no even stack."""
    usual = float(np.median(gaps))
    if usual <= 0 or float(gaps.min()) <= EVEN_MOST_SHARE * usual:
        at = int(np.argmin(gaps))
        text = f"slices {at + 1} and {at + 2} of {len(slices)} lie {gaps[at]:.3f} mm apart, others {usual:.3f} mm"
        return Finding("duplicate_slices", text, (slices[at].path, slices[at + 1].path))
    if lean is not None:
        text = f"slices lean by {lean:.1f} degrees and are {gaps.min():.3f} to {gaps.max():.3f} mm apart"
        return Finding("gantry_tilt", text)
    narrowest = float(gaps.min())
    multiples = gaps / narrowest
    whole = np.rint(multiples)
    if float(np.abs(multiples - whole).max()) <= EVEN_MOST_SHARE and whole.max() > 1:
        missing = int((whole - 1).sum())
        text = (
            f"{missing} of {len(slices) + missing} slices are missing, the first behind slice "
            f"{int(np.argmax(whole > 1)) + 1}: gaps of {narrowest:.3f} mm, and one of {gaps.max():.3f} mm. "
            "Fetch the series again"
        )
        return Finding("missing_slices", text)
    text = (
        f"gaps from {gaps.min():.3f} to {gaps.max():.3f} mm, usually {usual:.3f} mm, or slices beside one another; an "
        "even stack is wanted"
    )
    return Finding("uneven_slices", text)


def _positions(slices: Sequence[Slice]) -> NDArray[np.float64]:
    return np.array([plane.position_mm for plane in slices], np.float64)
