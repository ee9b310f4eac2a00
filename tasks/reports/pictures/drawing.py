"""What previews are drawn with: text, class colours over a picture, hatching, scale bars, legends."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tasks.reports.legend import NOT_OBSERVED, Caption, LegendEntry

PAGE = (255, 255, 255)
INK = (24, 32, 42)
MUTED = (98, 110, 124)
_LIGHT = (240, 243, 246)
FRAME = (206, 212, 218)
_HATCH_LIGHT, _HATCH_DARK = (188, 193, 199), (146, 152, 160)
_HATCH_PERIOD, _HATCH_WIDTH = 10, 3
_FILL_SHARE = 0.3
_SWATCH = 18
_FOOT_LINE = 18
_NARROWEST_WITH_BAR = 90
# Rows or columns that a strip is drawn with: enough for a bar and its letters.
_THINNEST = 64
# From which distortion on it is told.
_TOLD_ABOVE = 1.1
# The embedded font has Latin letters only.
_SPELLED_OUT = {"\u00b5": "u", "\u03bc": "u", "\u2013": "-", "\u2014": "-", "\u00d7": "x", "\u00b7": "-"}


def rgb(colour: str) -> tuple[int, int, int]:
    """Return ``#rrggbb`` as three numbers of 0-255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


@cache
def font(size: int) -> Any:  # noqa: ANN401 - Pillow has two font classes without a common base
    """Return the font that comes with Pillow: the same letters on every machine."""
    return ImageFont.load_default(size)


def plain(text: str) -> str:
    """Spell a text with the letters that the font has."""
    replaced = "".join(_SPELLED_OUT.get(letter, letter) for letter in text)
    return unicodedata.normalize("NFKD", replaced).encode("ascii", "ignore").decode()


def write(canvas: Image.Image, at: tuple[float, float], text: str, size: int, colour: tuple[int, ...]) -> None:
    """Write one line with its left middle at ``at`` (col, row)."""
    ImageDraw.Draw(canvas).text(at, plain(text), fill=colour, font=font(size), anchor="lm")


def write_over(canvas: Image.Image, at: tuple[float, float], text: str, size: int, anchor: str) -> None:
    """Write one light line with a dark edge, legible on any picture; ``anchor`` as Pillow has it."""
    draw = ImageDraw.Draw(canvas)
    draw.text(at, plain(text), fill=_LIGHT, font=font(size), anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0))


def wrapped(text: str, size: int, width: int) -> list[str]:
    """Break a text into lines of at most ``width`` pixels between words; no text is no line but one empty."""
    lines = [""]
    for word in plain(text).split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and width_of(longer, size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def width_of(text: str, size: int) -> int:
    """Return the width of a text in pixels."""
    return int(np.ceil(font(size).getlength(plain(text))))


def resized(array: NDArray[Any], shape: tuple[int, int], smooth: bool) -> NDArray[Any]:
    """Resize ``(rows, cols[, 3])`` uint8 or uint16 to ``shape``: smooth for pictures, nearest for labels."""
    size = (shape[1], shape[0])
    if smooth:
        return np.asarray(Image.fromarray(array).resize(size, Image.Resampling.LANCZOS))
    rows, cols = (
        np.minimum((np.arange(n) + 0.5) * length / n, length - 1).astype(np.intp)
        for n, length in zip(shape, array.shape, strict=False)
    )
    return array[np.ix_(rows, cols)]


def drawn_shape(
    shape: tuple[int, ...], pixel_m: tuple[float, float], largest: tuple[int, int]
) -> tuple[tuple[int, int], str]:
    """Return how large something is drawn, ``rows, cols``: as large as fits, and true to scale.

    A narrow strip is drawn wider than it is, so that something can be seen of it; the text says by how much.

    Args:
        shape: Rows and columns.
        pixel_m: Their size, in one unit.
        largest: Rows and columns that there is room for.
    """
    height, width = shape[0] * pixel_m[0], shape[1] * pixel_m[1]
    scale = min(largest[1] / width, largest[0] / height)
    rows, cols = max(_THINNEST, round(height * scale)), max(_THINNEST, round(width * scale))
    high, wide = rows / (height * scale), cols / (width * scale)
    if max(high, wide) < _TOLD_ABOVE:
        return (rows, cols), ""
    way, times = ("high", high / wide) if high > wide else ("wide", wide / high)
    return (rows, cols), f"Drawn {times:,.3g} times as {way} as it is"


def overlay(
    picture: NDArray[np.uint8], labels: NDArray[Any], legend: Mapping[int, LegendEntry], fill: float = _FILL_SHARE
) -> NDArray[np.uint8]:
    """Lay class colours with crisp outlines over a picture; what was not observed is hatched.

    Args:
        picture: ``(rows, cols, 3)``.
        labels: ``(rows, cols)``; the highest number of the type means not observed.
        legend: By label; labels that are not in it stay as they are.
        fill: Share of colour inside the outlines.
    """
    result = picture.astype(np.float32)
    for label, entry in legend.items():
        inside = labels == label
        colour = np.array(rgb(entry.colour), np.float32)
        result[inside] += fill * (colour - result[inside])
        result[_grown(inside, 1) & ~inside] *= 0.45
        result[inside & ~_shrunk(inside, 2)] = colour
    unseen = labels == np.iinfo(labels.dtype).max
    if unseen.any():
        result[unseen] = hatching(labels.shape)[unseen]
    return np.rint(result).astype(np.uint8)


def hatching(shape: Sequence[int]) -> NDArray[np.uint8]:
    """Return a grey diagonal hatch ``(rows, cols, 3)``."""
    diagonal = (np.arange(shape[0])[:, None] + np.arange(shape[1])[None, :]) % _HATCH_PERIOD < _HATCH_WIDTH
    return np.where(diagonal[..., None], np.array(_HATCH_DARK), np.array(_HATCH_LIGHT)).astype(np.uint8)


def draw_scale_bar(
    canvas: Image.Image, at: tuple[int, int], width: int, units_per_pixel: float, unit: str, size: int = 15
) -> None:
    """Draw a bar of a round length, at most a third of ``width`` pixels, left bottom at ``at`` (col, row).

    ``size`` is that of its letters, in pixels.
    """
    if width < _NARROWEST_WITH_BAR:
        return
    length = round_length(width / 3 * units_per_pixel)
    pixels = round(length / units_per_pixel)
    text = f"{length / 1000:g} km" if unit == "m" and length >= 1000 else f"{length:g} {unit}"
    draw = ImageDraw.Draw(canvas)
    col, row = at
    high = size // 3
    draw.rectangle((col - 1, row - high - 1, col + pixels + 1, row), fill=(0, 0, 0))
    draw.rectangle((col, row - high, col + pixels, row - 1), fill=(255, 255, 255))
    write_over(canvas, (col, row - high - round(0.87 * size)), text=text, size=size, anchor="lm")


def round_length(longest: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten that is not above ``longest``."""
    power = 10.0 ** np.floor(np.log10(longest))
    return float(next(step * power for step in (5, 2, 1) if step * power <= longest * (1 + 1e-9)))


def draw_legend(
    canvas: Image.Image, at: tuple[int, int], width: int, legend: Sequence[LegendEntry], has_unseen: bool
) -> int:
    """Draw the legend in as many lines as it needs; returns the row below it. ``at`` is (col, row)."""
    left, row = at
    col = left
    entries = [*legend, LegendEntry(NOT_OBSERVED, "#000000")] if has_unseen else list(legend)
    for index, entry in enumerate(entries):
        label = f"{entry.name}   {entry.text}" if entry.text else entry.name
        needed = _SWATCH + 8 + width_of(label, 16) + 32
        if col > left and col + needed - 32 > left + width:
            col, row = left, row + 28
        _swatch(canvas, (col, row), entry, hatched=has_unseen and index == len(legend))
        write(canvas, (col + _SWATCH + 8, row + _SWATCH / 2), text=label, size=16, colour=INK)
        col += needed
    return row + _SWATCH + 10 if entries else row


def draw_caption(canvas: Image.Image, margin: int, caption: Caption) -> None:
    """Write title and lines at the top, the attribution at the foot."""
    width = canvas.width - 2 * margin
    write(canvas, (margin, margin + 12), text=wrapped(caption.title, 25, width)[0], size=25, colour=INK)
    for index, line in enumerate(caption.lines):
        write(canvas, (margin, margin + 42 + 22 * index), text=wrapped(line, 16, width)[0], size=16, colour=MUTED)
    attribution = wrapped(caption.attribution, 13, width)
    for index, line in enumerate(attribution):
        row = canvas.height - margin + 2 - _FOOT_LINE * (len(attribution) - 1 - index)
        write(canvas, (margin, row), text=line, size=13, colour=MUTED)


def caption_height(margin: int, caption: Caption) -> int:
    """Return the rows that title and lines take."""
    return margin + 34 + 22 * len(caption.lines) + 8


def foot_height(width: int, margin: int, caption: Caption) -> int:
    """Return the rows below the legend on a page of ``width``: those of the attribution and some air."""
    return _FOOT_LINE * len(wrapped(caption.attribution, 13, width - 2 * margin)) + margin // 2 + 8


def as_png(canvas: Image.Image, *, is_draft: bool = False) -> bytes:
    """Return the picture as PNG bytes; the same picture gives the same bytes.

    A draft is encoded several times as fast and is larger: for what is encoded again, in another format.
    """
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG", optimize=False, compress_level=1 if is_draft else 6)
    return buffer.getvalue()


def _swatch(canvas: Image.Image, at: tuple[int, int], entry: LegendEntry, hatched: bool) -> None:
    box = (at[0], at[1], at[0] + _SWATCH - 1, at[1] + _SWATCH - 1)
    if hatched:
        canvas.paste(Image.fromarray(hatching((_SWATCH, _SWATCH))), at)
        ImageDraw.Draw(canvas).rectangle(box, outline=_HATCH_DARK)
        return
    colour = rgb(entry.colour)
    pale = tuple(round(255 + (part - 255) * 0.55) for part in colour)
    ImageDraw.Draw(canvas).rectangle(box, fill=pale, outline=colour, width=2)


def _grown(inside: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    result = inside.copy()
    for _ in range(by):
        result[1:] |= result[:-1].copy()
        result[:-1] |= result[1:].copy()
        result[:, 1:] |= result[:, :-1].copy()
        result[:, :-1] |= result[:, 1:].copy()
    return result


def _shrunk(inside: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    return ~_grown(~inside, by)
