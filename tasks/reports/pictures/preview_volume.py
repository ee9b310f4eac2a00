"""The preview of a volume, drawn: its planes with the mask, measured lines, letters and a scale bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from tasks.reports.legend import Caption, LegendEntry
from tasks.reports.pictures.drawing import (
    PAGE,
    as_png,
    caption_height,
    draw_caption,
    draw_legend,
    draw_scale_bar,
    foot_height,
    overlay,
    resized,
    write_over,
)
from tasks.reports.pictures.planes import DrawnLine, Section

_WIDTH = 1200
_MARGIN = 28
_GAP = 12
_HIGHEST_PANEL = 520
_BLANK = (140, 140, 140)
_FILL_SHARE = 0.22
_PERCENTILES = (1.0, 99.0)
_LINE, _LINE_EDGE = (255, 236, 64), (20, 20, 20)


def render_volume_preview(
    sections: Sequence[Section],
    legend: Mapping[int, LegendEntry],
    caption: Caption,
    window: tuple[float, float] | None = None,
    *,
    one_scale: bool = True,
) -> bytes:
    """Draw planes of a volume with their mask, radiological view.

    Args:
        sections: What to show, two in a row; one that is left over has a row of its own.
        legend: What to colour, by label; the background is left out.
        caption: Title, lines and attribution.
        window: Values that become black and white; None for ``percentile_window``.
        one_scale: Whether a millimetre is as long in all of them; else each fills its place.

    Returns:
        PNG, 1200 pixels wide; the same arguments give the same bytes.
    """
    widest = (_WIDTH - 2 * _MARGIN - _GAP) // 2
    zooms = [_zoom(section, widest) for section in sections]
    zoomed = [(section, min(zooms) if one_scale else zoom) for section, zoom in zip(sections, zooms, strict=True)]
    rows = [zoomed[start : start + 2] for start in range(0, len(zoomed), 2)]
    heights = [max(_shape(section, zoom)[0] for section, zoom in row) for row in rows]
    top = caption_height(_MARGIN, caption)
    panels_end = top + sum(heights) + _GAP * (len(rows) - 1)
    scratch = Image.new("RGB", (_WIDTH, 1))
    legend_rows = draw_legend(
        scratch, (_MARGIN, 0), width=_WIDTH - 2 * _MARGIN, legend=list(legend.values()), has_unseen=True
    )
    foot = foot_height(_WIDTH, _MARGIN, caption)
    canvas = Image.new("RGB", (_WIDTH, panels_end + 16 + legend_rows + foot), PAGE)
    limits = percentile_window(sections) if window is None else window
    for row, height in zip(rows, heights, strict=True):
        width = widest if len(row) > 1 else _WIDTH - 2 * _MARGIN
        for index, (section, zoom) in enumerate(row):
            panel = _panel(section, legend, (height, width), (zoom, *limits))
            canvas.paste(panel, (_MARGIN + index * (widest + _GAP), top))
        top += height + _GAP
    unseen = any((section.mask == np.iinfo(section.mask.dtype).max).any() for section in sections)
    draw_legend(
        canvas, (_MARGIN, panels_end + 16), width=_WIDTH - 2 * _MARGIN, legend=list(legend.values()), has_unseen=unseen
    )
    draw_caption(canvas, _MARGIN, caption)
    return as_png(canvas)


def percentile_window(sections: Sequence[Section]) -> tuple[float, float]:
    """Return the 1st and 99th percentile of what is finite in sections."""
    values = np.concatenate([section.image[np.isfinite(section.image)] for section in sections])
    if values.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(values.astype(np.float64), _PERCENTILES)
    return float(low), float(max(high, low + 1e-6))


def _zoom(section: Section, widest: int) -> float:
    height = section.image.shape[0] * section.pixel_mm[0]
    width = section.image.shape[1] * section.pixel_mm[1]
    return float(min(widest / width, _HIGHEST_PANEL / height))


def _shape(section: Section, zoom: float) -> tuple[int, int]:
    rows, cols = (n * mm for n, mm in zip(section.image.shape, section.pixel_mm, strict=True))
    return max(1, round(rows * zoom)), max(1, round(cols * zoom))


def _panel(
    section: Section, legend: Mapping[int, LegendEntry], shape: tuple[int, int], view: tuple[float, float, float]
) -> Image.Image:
    zoom, low, high = view
    grey = np.clip((section.image - low) / (high - low), 0.0, 1.0)
    grey = np.rint(np.nan_to_num(grey, nan=0.0) * 255).astype(np.uint8)
    inner = _shape(section, zoom)
    picture = np.repeat(resized(grey, inner, smooth=True)[..., None], 3, axis=2)
    drawn = legend if section.is_marked else {}
    coloured = overlay(picture, resized(section.mask, inner, smooth=False), drawn, _FILL_SHARE)
    panel = Image.new("RGB", (shape[1], shape[0]), _BLANK if section.is_blank else (0, 0, 0))
    corner = ((shape[1] - inner[1]) // 2, (shape[0] - inner[0]) // 2)
    panel.paste(Image.fromarray(coloured), corner)
    if section.cross is not None:
        _draw_cross(panel, corner, inner, section)
    for line in section.lines:
        _draw_line(panel, corner, inner=inner, section=section, line=line)
    _draw_letters(panel, section)
    draw_scale_bar(panel, (14, shape[0] - 12), width=shape[1] * 2 // 3, units_per_pixel=1 / zoom, unit="mm")
    return panel


def _draw_cross(panel: Image.Image, corner: tuple[int, int], inner: tuple[int, int], section: Section) -> None:
    """Mark the shared point at the picture's edges, where it hides nothing."""
    cross = section.cross or (0.0, 0.0)
    row, col = ((at + 0.5) / n * length for at, n, length in zip(cross, section.image.shape, inner, strict=True))
    left, top = corner
    draw, colour, tick = ImageDraw.Draw(panel), (255, 214, 102), 14
    for start, stop in ((left, left + tick), (left + inner[1] - tick, left + inner[1])):
        draw.line((start, top + row, stop, top + row), fill=colour, width=1)
    for start, stop in ((top, top + tick), (top + inner[0] - tick, top + inner[0])):
        draw.line((left + col, start, left + col, stop), fill=colour, width=1)


def _draw_line(
    panel: Image.Image, corner: tuple[int, int], inner: tuple[int, int], section: Section, line: DrawnLine
) -> None:
    ends = []
    for row, col in (line.start, line.stop):
        height, width = ((length / n) for length, n in zip(inner, section.image.shape, strict=True))
        ends.append((corner[0] + (col + 0.5) * width, corner[1] + (row + 0.5) * height))
    draw = ImageDraw.Draw(panel)
    for colour, thickness in ((_LINE_EDGE, 5), (_LINE, 2)):
        draw.line([*ends[0], *ends[1]], fill=colour, width=thickness)
    for x, y in ends:
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=_LINE, outline=_LINE_EDGE)
    x, y = max(ends)
    write_over(panel, (min(x + 8, panel.width - 80), y), text=line.text, size=16, anchor="lm")


def _draw_letters(panel: Image.Image, section: Section) -> None:
    width, height = panel.size
    places = ((width / 2, 14), (width / 2, height - 14), (16, height / 2), (width - 16, height / 2))
    for place, letter in zip(places, section.edges, strict=True):
        write_over(panel, place, text=letter, size=17, anchor="mm")
    write_over(panel, (14, 16), text=section.title, size=17, anchor="lm")
