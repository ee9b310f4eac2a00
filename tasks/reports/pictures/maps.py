"""Maps of a report: a picture, or class colours over it, with a scale bar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tasks.reports.blocks import Picture
from tasks.reports.legend import NOT_OBSERVED, LegendEntry
from tasks.reports.pictures.drawing import as_png, draw_scale_bar, drawn_shape, overlay, resized

# Sides of a map in pixels: wide enough for half a page at twice its density, and a tall one still fits a screen. A
# small scene is enlarged by the third number at most, if it is as wide as the first then: more would only weigh more.
_NARROW, _WIDTH = 560, 900
_HEIGHT = 1100
_ENLARGED = 2.5
# Legible where the map is shown at a third of its size.
_LETTERS = 26
_PAPER = 244
_HATCH_COLOUR = "#9298a0"


def map_picture(
    image: NDArray[np.uint8] | None,
    labels: NDArray[Any],
    legend: Mapping[int, LegendEntry],
    pixel_m: tuple[float, float],
    alt: str,
    caption: str = "",
) -> Picture:
    """Draw one map.

    Args:
        image: ``(rows, cols, 3)``, ready to be looked at; None for colours on plain paper.
        labels: ``(rows, cols)`` uint8 or uint16; the type's highest number means not observed and is hatched.
        legend: What to colour, by label; labels left out stay clear. Empty for the picture alone.
        pixel_m: Size of a pixel on the ground, ``rows, cols``, in metres; zeros where it is not known, which leaves
            the scale bar out.
        alt: What the map shows.
        caption: Below it.

    Returns:
        A PNG at most 900 pixels wide; the same arguments give the same bytes.
    """
    known = min(pixel_m) > 0
    width = min(_WIDTH, max(_NARROW, round(_ENLARGED * labels.shape[1])))
    shape, stretched = drawn_shape(labels.shape, pixel_m if known else (1.0, 1.0), (_HEIGHT, width))
    drawn = resized(labels, shape, smooth=False)
    # Colours on paper are to be told apart without a picture below them.
    paper = np.full((*shape, 3), _PAPER, np.uint8) if image is None else resized(image, shape, smooth=True)
    pixels = overlay(paper, drawn, legend, fill=0.75) if image is None else overlay(paper, drawn, legend)
    unseen = drawn == np.iinfo(drawn.dtype).max
    canvas = Image.fromarray(pixels)
    if known:
        metres = pixel_m[1] * labels.shape[1] / shape[1]
        draw_scale_bar(canvas, (14, shape[0] - 12), width=shape[1], units_per_pixel=metres, unit="m", size=_LETTERS)
    entries = list(legend.values()) + ([LegendEntry(NOT_OBSERVED, _HATCH_COLOUR)] if unseen.any() else [])
    words = " ".join(part for part in (caption, f"{stretched}." if stretched else "") if part)
    # A page shows photographs as WebP; colours on paper are small as PNG.
    return Picture(as_png(canvas, is_draft=image is not None), alt, words, tuple(entries))
