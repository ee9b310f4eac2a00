"""Text of strangers, made fit to be shown."""

from __future__ import annotations

import re

# Control characters, ends of lines of every kind, overrides of the direction of writing, and halves of characters.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_UNFIT_IN_LINES = re.compile(_UNFIT.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))
_PICTURES, _N_PICTURES, _DELETE, _PICTURE_OF_DELETE = 0x2400, 0x20, 0x7F, "\u2421"
_UNKNOWN = "\ufffd"


def printable(text: str, *, lines: bool = False) -> str:
    """Return text with a visible sign in place of each character that a terminal, a log or a table would act on.

    Bytes that are no UTF-8, which Python keeps as halves of characters, can be written afterwards as well.

    Args:
        text: Such as the name of a file or of a class.
        lines: Whether ends of lines and tabs stay: those of our own texts.
    """
    return (_UNFIT_IN_LINES if lines else _UNFIT).sub(_sign, text)


def is_utf8(text: str) -> bool:
    """Tell whether a name can be written down: those of files may be any bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _sign(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < _N_PICTURES:
        return chr(_PICTURES + code)
    return _PICTURE_OF_DELETE if code == _DELETE else _UNKNOWN
