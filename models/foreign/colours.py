"""Colours for classes whose model names none."""

from __future__ import annotations

import colorsys

# Turning by the golden section keeps neighbouring numbers far apart, however many there are.
_TURN = 0.618034


def class_colour(number: int) -> str:
    """Return the colour ``#rrggbb`` of a class; background, 0, is black."""
    if number == 0:
        return "#000000"
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb((number - 1) * _TURN % 1.0, 0.75, 0.9))
    return f"#{red:02x}{green:02x}{blue:02x}"
