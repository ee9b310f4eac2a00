"""Slices in the order in which they lie in the patient, and whether they are a regular stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.dicom.findings import Finding, SeriesError
from tasks.dicom.instance import Slice

# How far a slice may lie from where an even stack would have it: a hundredth of the gap, or what the header's
# rounding to a tenth of a millimetre does, but never a tenth of the gap.
EVEN_SHARE = 0.01
EVEN_MM = 0.05
EVEN_MOST_SHARE = 0.1
# Slices closer than this, along their normal, lie in one place; or than a tenth of their thickness.
SAME_PLACE_MM = 0.02
SAME_PLACE_SHARE = 0.1
# Steps that lean by more than this against the normal are of a tilted gantry: half a millimetre in 300.
TILT_DEGREES = 0.1
# How far lengths of directions may be from 1, and their cosine from 0.
SQUARE = 0.005
_ROUNDED_MM = 1e-6


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
    from highdicom.spatial import get_volume_positions

    if len(slices) < 2:
        raise SeriesError(Finding("too_few_slices", "one slice is no volume: its depth is not known"))
    normal = normal_of(orientation)
    positions = _positions(slices)
    order = np.argsort(positions @ normal, kind="stable")
    ordered, positions = tuple(slices[k] for k in order), positions[order]
    gaps = np.diff(positions @ normal)
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    gap = float(step @ normal)
    allowed = min(max(EVEN_SHARE * gap, EVEN_MM), EVEN_MOST_SHARE * gap)
    off = _off_line(positions)
    lean = np.degrees(np.arctan2(np.linalg.norm(step - gap * normal), gap))
    is_tilted = lean > TILT_DEGREES
    if is_tilted:
        is_even = float(np.linalg.norm(off, axis=1).max()) <= allowed
    else:
        # Two neighbours may be off in opposite directions.
        distance, _ = get_volume_positions(positions.tolist(), list(orientation), atol=2 * allowed + _ROUNDED_MM)
        is_even = distance is not None and float(np.abs(off @ normal).max()) <= allowed + _ROUNDED_MM
    if not is_even:
        raise SeriesError(_unevenness(gaps, ordered, float(lean) if is_tilted else None))
    # What leans by less is the rounding of positions: the stack then is one of right angles.
    x, y, z = (float(value) for value in (step if is_tilted else gap * normal))
    return Stack(ordered, (x, y, z), tuple(_notes(len(slices), lean, is_tilted)))


def _off_line(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far positions lie from the even ones that fit them best, least squares."""
    number = np.arange(len(positions)) - (len(positions) - 1) / 2
    centred = positions - positions.mean(axis=0)
    step = number @ centred / (number @ number)
    off: NDArray[np.float64] = centred - number[:, np.newaxis] * step
    return off


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
    if float(np.abs(multiples - whole).max()) <= EVEN_MOST_SHARE and whole.min() >= 1:
        missing = int((whole - 1).sum())
        text = (
            f"{missing} of {len(slices) + missing} slices are missing, the first behind slice "
            f"{int(np.argmax(whole > 1)) + 1}: gaps of {narrowest:.3f} mm, and one of {gaps.max():.3f} mm. "
            "Fetch the series again"
        )
        return Finding("missing_slices", text)
    text = f"gaps from {gaps.min():.3f} to {gaps.max():.3f} mm, usually {usual:.3f} mm; an even stack is wanted"
    return Finding("uneven_slices", text)


def _positions(slices: Sequence[Slice]) -> NDArray[np.float64]:
    return np.array([plane.position_mm for plane in slices], np.float64)
