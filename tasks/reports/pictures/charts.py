"""Plots of a report: bars with intervals, lines over time; the same numbers give the same bytes.

They are written as SVG here: two kinds of plot do not need a library of plots, whose import and drawing took a fifth
of what a small scene takes as a whole. Letters are text, in the viewer's own font.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.etree import ElementTree as ET

from tasks.reports.blocks import Chart
from tasks.reports.page_figures import number

# CSS pixels: a chart is as wide as a phone can show without making its letters small.
_WIDTH_PX = 520
_BAR_PX = 30
_BAR_SHARE = 0.62
_LINE_CHART_PX = 260
_LETTERS_PX = 13
_LINE_PX = 18
_GAP_PX = 6
_MARGIN_PX = 10
# Of a chart's height, above its highest point.
_HEADROOM = 0.06
# Of a letter's height, as wide as most fonts draw it; those of East Asia are as wide as high.
_LETTER_WIDTH = 0.58
_MOST_STEPS = 5
_LONGEST_NAME = 26
_FONT = "system-ui, 'DejaVu Sans', Arial, sans-serif"
_DEFAULT_COLOUR = "#2b6cb0"


@dataclass(frozen=True)
class _Theme:
    ink: str
    muted: str
    grid: str


_LIGHT = _Theme("#18202a", "#55606d", "#d9dee4")
_DARK = _Theme("#e6eaef", "#a5b0bc", "#3a444f")


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        name: Beside it.
        value: Its length; None where it cannot be computed, which leaves the bar out and says so.
        colour: ``#rrggbb``.
        interval: Lower and upper bound, drawn as a whisker.
    """

    name: str
    value: float | None
    colour: str = _DEFAULT_COLOUR
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Line:
    """One line.

    Attributes:
        name: In the legend; left out where the chart has one line.
        values: One per position; None leaves a gap.
        colour: ``#rrggbb``.
    """

    name: str
    values: tuple[float | None, ...]
    colour: str = _DEFAULT_COLOUR


def bar_chart(title: str, unit: str, bars: Sequence[Bar], caption: str = "") -> Chart:
    """Draw horizontal bars from zero, each with its number.

    Args:
        title: What is shown; begins the accessible name.
        unit: Of the values, such as ``ha``.
        bars: From top to bottom.
        caption: Below the plot.
    """
    said = "; ".join(_bar_text(bar, unit) for bar in bars)
    light, dark = (_draw_bars(theme, unit, bars) for theme in (_LIGHT, _DARK))
    return Chart(light, dark, f"{title}: {said or 'none'}", caption)


def line_chart(
    title: str, unit: str, at: Sequence[float], ticks: Sequence[str], lines: Sequence[Line], caption: str = ""
) -> Chart:
    """Draw values over time, or over anything that has an order.

    Args:
        title: What is shown; begins the accessible name.
        unit: Of the values.
        at: Ascending positions, such as days since the first date.
        ticks: What stands below each position.
        lines: One value per position each.
        caption: Below the plot.
    """
    said = "; ".join(
        ", ".join(f"{line.name} {tick} {_value(value, unit)}" for tick, value in zip(ticks, line.values, strict=True))
        for line in lines
    )
    light, dark = (_draw_lines(theme, unit, (at, ticks, lines)) for theme in (_LIGHT, _DARK))
    return Chart(light, dark, f"{title}: {said}", caption)


def round_steps(low: float, high: float) -> list[float]:
    """Return the round numbers from ``low`` to ``high`` that an axis shows: at most five steps of 1, 2 or 5."""
    span = high - low
    power = 10.0 ** math.floor(math.log10(span / _MOST_STEPS))
    step = next(part * power for part in (1, 2, 5, 10) if span <= _MOST_STEPS * part * power * (1 + 1e-9))
    return [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _value(value: float | None, unit: str) -> str:
    return "not computed" if value is None else f"{number(value)} {unit}".strip()


def _bar_text(bar: Bar, unit: str) -> str:
    text = f"{bar.name} {_value(bar.value, unit)}"
    if bar.value is None or bar.interval is None:
        return text
    return f"{text} ({number(bar.interval[0])} to {number(bar.interval[1])})"


def _draw_bars(theme: _Theme, unit: str, bars: Sequence[Bar]) -> bytes:
    names = [_shortened(bar.name) for bar in bars]
    labels = ["not computed" if bar.value is None else number(bar.value) for bar in bars]
    whiskers = [bar.interval if bar.value is not None else None for bar in bars]
    ends = [0.0, *(bar.value for bar in bars if bar.value is not None), *(x for pair in whiskers if pair for x in pair)]
    low, high = min(ends), max(ends)
    high = high if high > low else low + 1.0
    left = _MARGIN_PX + max(map(_width_px, names), default=0.0) + _GAP_PX
    tips = [max(0.0, bar.value or 0.0, *(interval or ())) for bar, interval in zip(bars, whiskers, strict=True)]
    right = float(_WIDTH_PX - _MARGIN_PX)
    for tip, label in zip(tips, labels, strict=True):
        # Room for the number beside each bar.
        share = (tip - low) / (high - low)
        room = _WIDTH_PX - _MARGIN_PX - _GAP_PX - _width_px(label) - left
        right = min(right, left + room / share) if share else right
    foot = _MARGIN_PX + _BAR_PX * max(1, len(bars))
    scale = _Scale((low, high), (left, right))
    canvas = _Canvas(foot + 2 * _LINE_PX + _MARGIN_PX, theme)
    for step in round_steps(low, high):
        canvas.line((scale(step), _MARGIN_PX), (scale(step), foot), theme.grid)
        canvas.text((scale(step), foot + _LINE_PX - _GAP_PX / 2), number(step), anchor="middle")
    for k, bar in enumerate(bars):
        row = _MARGIN_PX + _BAR_PX * (k + 0.5)
        canvas.text((left - _GAP_PX, row), names[k], anchor="end")
        if bar.value is not None:
            start, stop = sorted((scale(0.0), scale(bar.value)))
            canvas.bar((start, row - _BAR_PX * _BAR_SHARE / 2), (stop, row + _BAR_PX * _BAR_SHARE / 2), bar.colour)
        if (interval := whiskers[k]) is not None:
            canvas.line((scale(interval[0]), row), (scale(interval[1]), row), theme.ink, 1.4)
            for end in interval:
                canvas.line((scale(end), row - 4), (scale(end), row + 4), theme.ink, 1.4)
        canvas.text((scale(tips[k]) + _GAP_PX, row), labels[k])
    canvas.line((scale(0.0), _MARGIN_PX), (scale(0.0), foot), theme.muted)
    canvas.line((left, foot), (right, foot), theme.muted)
    canvas.text(((left + right) / 2, foot + 2 * _LINE_PX), _shortened(unit), anchor="middle", colour=theme.muted)
    return canvas.svg()


def _draw_lines(theme: _Theme, unit: str, drawn: tuple[Sequence[float], Sequence[str], Sequence[Line]]) -> bytes:
    at, ticks, lines = drawn
    names = [_shortened(tick) for tick in ticks]
    values = [value for line in lines for value in line.values if value is not None]
    low, top = min([0.0, *values]), max([0.0, *values])
    # Room for the marker of the highest point, also where the values differ by little.
    high = top + _HEADROOM * (top - low) if top > low else low + 1.0
    steps = round_steps(low, high)
    left = _MARGIN_PX + _LINE_PX + max(_width_px(number(step)) for step in steps) + _GAP_PX
    right = _WIDTH_PX - _MARGIN_PX - min(_width_px(names[-1]) / 2, _WIDTH_PX / 8)
    legend_px = _LINE_PX if len(lines) > 1 else 0
    across = _Scale((at[0], at[-1] if at[-1] > at[0] else at[0] + 1.0), (left + _MARGIN_PX, right))
    # Names that have no room beside each other are turned, and those that still have none are left out.
    halves = [(across(position), _width_px(name) / 2) for position, name in zip(at, names, strict=True)]
    turned = halves[-1][0] + halves[-1][1] > _WIDTH_PX or any(
        col + half + _GAP_PX > next_col - next_half for (col, half), (next_col, next_half) in pairwise(halves)
    )
    names_px = max(map(_width_px, names), default=0.0) if turned else _LINE_PX
    head, foot = _MARGIN_PX + legend_px, _LINE_CHART_PX - _MARGIN_PX
    up = _Scale((low, high), (foot, head))
    canvas = _Canvas(math.ceil(foot + _GAP_PX + names_px + _MARGIN_PX), theme)
    for step in steps:
        canvas.line((left, up(step)), (right, up(step)), theme.grid)
        canvas.text((left - _GAP_PX, up(step)), number(step), anchor="end")
    canvas.line((left, foot), (right, foot), theme.muted)
    told_to = -math.inf
    for position, name in zip(at, names, strict=True):
        col = across(position)
        canvas.line((col, foot), (col, foot + 4), theme.muted)
        if turned and col - told_to < _LETTERS_PX + 1:
            continue
        told_to = col
        canvas.text((col, foot + _GAP_PX + _LETTERS_PX / 2), name, anchor="end" if turned else "middle", turned=turned)
    for k, line in enumerate(lines):
        dots = [None if v is None else (across(x), up(v)) for x, v in zip(at, line.values, strict=True)]
        canvas.polyline(dots, line.colour)
        if legend_px:
            col = left + k * (right - left) / len(lines)
            canvas.line((col, _MARGIN_PX), (col + 16, _MARGIN_PX), line.colour, 2)
            canvas.text((col + 20, _MARGIN_PX), _shortened(line.name))
    middle = (_MARGIN_PX + _LETTERS_PX / 2, (head + foot) / 2)
    canvas.text(middle, _shortened(unit), anchor="middle", colour=theme.muted, turned=True)
    return canvas.svg()


@dataclass(frozen=True)
class _Scale:
    """From values to pixels."""

    values: tuple[float, float]
    pixels: tuple[float, float]

    def __call__(self, value: float) -> float:
        share = (value - self.values[0]) / (self.values[1] - self.values[0])
        return self.pixels[0] + share * (self.pixels[1] - self.pixels[0])


class _Canvas:
    """A picture of SVG elements; positions are ``(col, row)`` in CSS pixels."""

    def __init__(self, height_px: int, theme: _Theme) -> None:
        self._theme = theme
        self._root = ET.Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "width": f"{_WIDTH_PX}",
                "height": f"{height_px}",
                "viewBox": f"0 0 {_WIDTH_PX} {height_px}",
                "font-family": _FONT,
                "font-size": f"{_LETTERS_PX}",
            },
        )

    def line(self, start: tuple[float, float], stop: tuple[float, float], colour: str, width: float = 0.8) -> None:
        x1, y1, x2, y2 = map(_px, (*start, *stop))
        self._add("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "stroke": colour, "stroke-width": _px(width)})

    def bar(self, top_left: tuple[float, float], bottom_right: tuple[float, float], colour: str) -> None:
        (col, row), (to_col, to_row) = top_left, bottom_right
        box = {"x": _px(col), "y": _px(row), "width": _px(to_col - col), "height": _px(to_row - row)}
        self._add("rect", {**box, "fill": colour, "stroke": self._theme.muted, "stroke-width": "0.6"})

    def polyline(self, dots: Sequence[tuple[float, float] | None], colour: str) -> None:
        """Draw dots, and lines between neighbours; None is a gap."""
        path, is_down = "", False
        for dot in dots:
            if dot is not None:
                path += f"{'L' if is_down else 'M'}{_px(dot[0])} {_px(dot[1])}"
                self._add("circle", {"cx": _px(dot[0]), "cy": _px(dot[1]), "r": "3.3", "fill": colour})
            is_down = dot is not None
        self._add("path", {"d": path, "fill": "none", "stroke": colour, "stroke-width": "2"})

    def text(
        self, at: tuple[float, float], text: str, *, anchor: str = "start", colour: str = "", turned: bool = False
    ) -> None:
        """Write one line whose height is centred on ``at``; a turned one is read from below."""
        where = {"x": _px(at[0]), "y": _px(at[1]), "dy": "0.35em", "text-anchor": anchor}
        turn = {"transform": f"rotate(-90 {_px(at[0])} {_px(at[1])})"} if turned else {}
        self._add("text", {**where, **turn, "fill": colour or self._theme.ink}).text = text

    def svg(self) -> bytes:
        return ET.tostring(self._root)

    def _add(self, tag: str, attributes: dict[str, str]) -> ET.Element:
        return ET.SubElement(self._root, tag, attributes)


def _px(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _shortened(text: str) -> str:
    """Shorten a name to what fits, and leave out what XML cannot hold; the accessible name has all of it."""
    shown = "".join(letter for letter in text if letter.isprintable())
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[: _LONGEST_NAME - 1]}…"


def _width_px(text: str) -> float:
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return _LETTERS_PX * (wide + _LETTER_WIDTH * (len(text) - wide))
