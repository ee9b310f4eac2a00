"""What damaged files make libraries raise, told from mistakes of our own by where it was raised."""

from __future__ import annotations

import struct
import traceback
from pathlib import Path

import tasks

# What damaged elements make pydicom and numpy raise, whatever the element is.
UNDECODABLE = (
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
# Of these, what a mistake in a program raises as well.
_OF_MISTAKES = (AssertionError, AttributeError, LookupError, TypeError, NotImplementedError)
# One of ours says what is wrong with a value.
_OF_VALUES = UnicodeError
_OURS = Path(tasks.__file__).parent


def require_damage(error: BaseException) -> None:
    """Raise an error again that is a mistake of ours: it must not pass for a damaged file.

    Args:
        error: One of ``UNDECODABLE``.
    """
    if is_mistake(error):
        raise error


def is_mistake(error: BaseException) -> bool:
    """Tell whether our own code raised what a mistake raises, rather than a library that met damaged bytes."""
    if not isinstance(error, _OF_MISTAKES) or isinstance(error, _OF_VALUES):
        return False
    return Path(_raised_at(error).filename).is_relative_to(_OURS)


def place_of(error: BaseException) -> str:
    """Return file and line where an error was raised, which hold nothing of a patient's."""
    frame = _raised_at(error)
    return f"{Path(frame.filename).name}:{frame.lineno}"


def _raised_at(error: BaseException) -> traceback.FrameSummary:
    return traceback.extract_tb(error.__traceback__)[-1]
