"""Class numbers out of whatever type a mask was stored as: whole, not negative, some of them not observed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import UnsupportedSceneError

# Further from a whole number than this is no rounding: a slope of 1/255, or a probability.
_ROUNDED = 1e-3
MOST_CLASS = 65_535
_SHOWN = 5


def class_numbers(
    name: str, values: NDArray[Any], observed: NDArray[np.bool_], most: int = MOST_CLASS, *, lowest: int = 0
) -> NDArray[np.integer[Any]]:
    """Return the class of every pixel, 0 where not observed.

    Floats that scaling or another program left beside a whole number, such as 2.0000005, are that number.

    Args:
        name: Of the mask, for errors.
        values: As stored, or scaled.
        observed: Which of them count; the others may be anything.
        most: The highest number.
        lowest: Below 0 where a caller gives negative numbers a meaning.

    Raises:
        UnsupportedSceneError: When a value is a fraction, negative or too high; it is named.
    """
    known = np.where(observed, values, np.zeros((), values.dtype))
    if known.dtype.kind == "b":
        return known.astype(np.uint8)
    whole = known if known.dtype.kind in "iu" else np.rint(known)
    wrong = (whole < lowest) | (whole > most)
    if whole is not known:
        wrong |= np.abs(known - whole) > _ROUNDED
    if wrong.any():
        found = np.unique(known[wrong])
        shown = ", ".join(f"{value:.6g}" for value in found[:_SHOWN]) + (", ..." if found.size > _SHOWN else "")
        raise UnsupportedSceneError(
            f"{name}: a mask holds whole class numbers{'' if lowest else f' from 0 to {most}'}; found {shown}. Give a "
            "class map, not scores or a picture; a stored scale that makes fractions of classes has to be 1"
        )
    return whole if whole is known else whole.astype(np.int64)


def rescaled(values: NDArray[Any], scale: float, offset: float) -> NDArray[Any]:
    """Return what stored values stand for by the scale and offset of their band; themselves where it has none."""
    return values if (scale, offset) == (1.0, 0.0) else values * np.float64(scale) + np.float64(offset)


def label_type(highest: int) -> str:
    """Return the smallest unsigned type that holds a class number, and one that stands for not observed."""
    return "uint8" if highest < 255 else "uint16" if highest < MOST_CLASS else "uint32"
