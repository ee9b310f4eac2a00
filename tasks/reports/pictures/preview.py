"""The preview of a raster: the picture beside the picture with its mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tasks.reports.legend import Caption, LegendEntry
from tasks.reports.pictures.drawing import (
    FRAME,
    MUTED,
    PAGE,
    as_png,
    caption_height,
    draw_caption,
    draw_legend,
    draw_scale_bar,
    drawn_shape,
    foot_height,
    hatching,
    overlay,
    resized,
    write,
)

_WIDTH = 1200
_MARGIN = 28
_GAP = 16
_HIGHEST_PANEL = 760
_PANEL_TITLE = 26


def stretch(
    image: NDArray[Any], observed: NDArray[np.bool_], percentiles: tuple[float, float] = (2.0, 98.0)
) -> NDArray[np.uint8]:
    """Stretch a picture between two percentiles of its observed pixels.

    Half-way between one range for all bands, which keeps every cast, and one range for each, which turns the
    commonest colour into grey.

    Args:
        image: ``(rows, cols, 3)`` or ``(rows, cols)``.
        observed: ``(rows, cols)``.
        percentiles: Become 0 and 255.

    Returns:
        Uint8 of the image's shape; 0 where not observed.
    """
    result = np.zeros(image.shape, np.uint8)
    if not observed.any():
        return result
    values = image[observed].astype(np.float64)
    together = (slice(None),) + (np.newaxis,) * (image.ndim - 2)
    low, high = (np.percentile(values, percentiles, axis=0) + np.percentile(values, percentiles)[together]) / 2
    width = np.where(high > low, high - low, 1.0)
    result[observed] = np.rint(np.clip((values - low) / width, 0.0, 1.0) * 255).astype(np.uint8)
    return result


def render_raster_preview(
    image: NDArray[np.uint8],
    mask: NDArray[Any],
    legend: Mapping[int, LegendEntry],
    caption: Caption,
    pixel_m: tuple[float, float],
) -> bytes:
    """Draw a raster and its mask side by side.

    Args:
        image: ``(rows, cols, 3)``, ready to be looked at; see ``stretch``.
        mask: ``(rows, cols)`` uint8 or uint16; the type's highest number means not observed.
        legend: What to colour, by label; a background that is to stay clear is left out.
        caption: Title, lines and attribution.
        pixel_m: Size of a pixel on the ground, ``rows, cols``, in metres.

    Returns:
        PNG, 1200 pixels wide; the same arguments give the same bytes.
    """
    widest = (_WIDTH - 2 * _MARGIN - _GAP) // 2
    shape, stretched = drawn_shape(mask.shape, pixel_m, (_HIGHEST_PANEL, widest))
    picture = resized(image, shape, smooth=True)
    labels = resized(mask, shape, smooth=False)
    unseen = labels == np.iinfo(labels.dtype).max
    plain_panel = np.where(unseen[..., None], hatching(shape), picture)
    panels = [("Image", plain_panel), ("Segmentation", overlay(picture, labels, legend))]
    canvas, top = _page(shape, legend, caption)
    pitch = (_WIDTH - 2 * _MARGIN + _GAP) // 2
    for index, (name, pixels) in enumerate(panels):
        left = _MARGIN + index * pitch + (pitch - _GAP - shape[1]) // 2
        words = (name, left) if not stretched else (f"{name}. {stretched}", _MARGIN + index * pitch)
        write(canvas, (words[1], top - _PANEL_TITLE / 2), text=words[0], size=15, colour=MUTED)
        canvas.paste(Image.fromarray(pixels.astype(np.uint8)), (left, top))
        edge = (left - 1, top - 1, left + shape[1], top + shape[0])
        ImageDraw.Draw(canvas).rectangle(edge, outline=FRAME)
        metres_per_pixel = pixel_m[1] * mask.shape[1] / shape[1]
        draw_scale_bar(
            canvas, (left + 14, top + shape[0] - 12), width=shape[1], units_per_pixel=metres_per_pixel, unit="m"
        )
    below = top + shape[0] + 16
    draw_legend(
        canvas,
        (_MARGIN, below),
        width=_WIDTH - 2 * _MARGIN,
        legend=list(legend.values()),
        has_unseen=bool(unseen.any()),
    )
    draw_caption(canvas, _MARGIN, caption)
    return as_png(canvas)


def _page(shape: tuple[int, int], legend: Mapping[int, LegendEntry], caption: Caption) -> tuple[Image.Image, int]:
    """Return an empty page of the right height and the row where the panels begin."""
    top = caption_height(_MARGIN, caption) + _PANEL_TITLE
    scratch = Image.new("RGB", (_WIDTH, 1))
    legend_rows = draw_legend(
        scratch, (_MARGIN, 0), width=_WIDTH - 2 * _MARGIN, legend=list(legend.values()), has_unseen=True
    )
    height = top + shape[0] + 16 + legend_rows + foot_height(_WIDTH, _MARGIN, caption)
    return Image.new("RGB", (_WIDTH, height), PAGE), top
