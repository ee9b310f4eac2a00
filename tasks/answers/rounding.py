"""Numbers rounded for people, none of them to nothing: what is small keeps four significant digits."""

from __future__ import annotations

import math

_DIGITS = 4
_MOST_DECIMALS = 6


def rounded(value: float, decimals: int) -> float:
    """Return a value with so many decimals, or more where four significant digits need them: 5.25e-7 is not 0."""
    return round(value, max(decimals, _needed(value)))


def written(value: float, decimals: int) -> str:
    """Write a value with so many decimals, thousands apart, where they hold two digits of it.

    What is smaller gets four digits, and below a millionth a power of ten.
    """
    if not value or not math.isfinite(value) or round(abs(value), decimals) >= 10.0 ** (1 - decimals):
        return f"{value:,.{decimals}f}"
    needed = _needed(value)
    return f"{value:,.{needed}f}" if needed <= max(decimals, _MOST_DECIMALS) else f"{value:.{_DIGITS}g}"


def _needed(value: float) -> int:
    return _DIGITS - 1 - math.floor(math.log10(abs(value))) if value and math.isfinite(value) else 0
