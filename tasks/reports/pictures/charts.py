"""Plots of a report: bars with intervals, lines over time; the same numbers give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from threading import Lock

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tasks.reports.blocks import Chart
from tasks.reports.page_figures import number

# CSS pixels: a chart is as wide as a phone can show without making its letters small.
_WIDTH_PX = 520
_BAR_PX = 30
_FRAME_PX = 74
_LINE_CHART_PX = 260
_DPI = 96
_POINT_PX = 72 / _DPI
_LETTERS_PX = 13
# Of a chart's height, above its highest point.
_HEADROOM = 0.06
_FONT = "DejaVu Sans"
_DEFAULT_COLOUR = "#2b6cb0"

# matplotlib keeps its settings in one place for all threads of a process.
SETTINGS_LOCK = Lock()


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
    height = _FRAME_PX + _BAR_PX * max(1, len(bars))
    return _chart(
        height, lambda axes, theme: _draw_bars(axes, theme, unit, bars), f"{title}: {said or 'none'}", caption
    )


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
    return _chart(
        _LINE_CHART_PX,
        lambda axes, theme: _draw_lines(axes, theme, unit, (at, ticks, lines)),
        f"{title}: {said}",
        caption,
    )


def _value(value: float | None, unit: str) -> str:
    return "not computed" if value is None else f"{number(value)} {unit}".strip()


def _bar_text(bar: Bar, unit: str) -> str:
    text = f"{bar.name} {_value(bar.value, unit)}"
    if bar.value is None or bar.interval is None:
        return text
    return f"{text} ({number(bar.interval[0])} to {number(bar.interval[1])})"


def _draw_bars(axes: Axes, theme: _Theme, unit: str, bars: Sequence[Bar]) -> None:
    rows = range(len(bars))
    values = [0.0 if bar.value is None else bar.value for bar in bars]
    axes.barh(rows, values, height=0.62, color=[bar.colour for bar in bars], edgecolor=theme.muted, linewidth=0.6)
    for row, bar in enumerate(bars):
        tip = 0.0 if bar.value is None else max(bar.value, 0.0)
        if bar.value is not None and bar.interval is not None:
            low, high = bar.interval
            axes.plot([low, high], [row, row], color=theme.ink, linewidth=1.4, marker="|", markersize=8)
            tip = max(tip, high)
        label = number(bar.value) if bar.value is not None else "not computed"
        axes.annotate(label, (tip, row), (6, 0), textcoords="offset points", va="center", color=theme.ink)
    axes.set_yticks(list(rows), [_drawn(bar.name) for bar in bars])
    axes.set_ylim(len(bars) - 0.4, -0.6)
    # Room for the numbers beside the bars.
    axes.margins(x=0.22)
    axes.set_xlabel(_drawn(unit))
    axes.xaxis.grid(True, color=theme.grid, linewidth=0.8)
    axes.axvline(0.0, color=theme.muted, linewidth=0.8)


def _draw_lines(
    axes: Axes, theme: _Theme, unit: str, drawn: tuple[Sequence[float], Sequence[str], Sequence[Line]]
) -> None:
    at, ticks, lines = drawn
    for line in lines:
        values = [float("nan") if value is None else value for value in line.values]
        axes.plot(at, values, color=line.colour, linewidth=2, marker="o", markersize=5, label=_drawn(line.name))
    axes.set_xticks(list(at), [_drawn(tick) for tick in ticks])
    axes.tick_params(axis="x", labelrotation=0 if len(ticks) <= 5 else 60)
    axes.set_ylabel(_drawn(unit))
    low, high = min(0.0, axes.get_ylim()[0]), axes.get_ylim()[1]
    # Room for the marker of the highest point, also where the values differ by little.
    axes.set_ylim(low, high + _HEADROOM * (high - low))
    axes.yaxis.grid(True, color=theme.grid, linewidth=0.8)
    if len(lines) > 1:
        axes.legend(frameon=False, labelcolor=theme.ink)


def _drawn(text: str, longest: int = 26) -> str:
    """Shorten a name to what fits, in letters that the font has; the accessible name has all of it."""
    known = _letters()
    shown = "".join(letter if ord(letter) in known else "?" for letter in text)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


@cache
def _letters() -> frozenset[int]:
    return frozenset(get_font(findfont(_FONT)).get_charmap())


def _chart(height_px: int, draw: Callable[[Axes, _Theme], None], alt: str, caption: str) -> Chart:
    light, dark = (_svg(height_px, draw, theme) for theme in (_LIGHT, _DARK))
    return Chart(light, dark, alt, caption)


def _svg(height_px: int, draw: Callable[[Axes, _Theme], None], theme: _Theme) -> bytes:
    buffer = io.BytesIO()
    with (
        SETTINGS_LOCK,
        mpl.rc_context(
            {
                "svg.hashsalt": "swathe",
                "svg.fonttype": "path",
                "font.family": _FONT,
                "font.size": _LETTERS_PX * _POINT_PX,
                # Names are text, also with two dollar signs in them.
                "text.parse_math": False,
            }
        ),
    ):
        figure = Figure(figsize=(_WIDTH_PX / _DPI, height_px / _DPI), layout="constrained")
        axes = figure.add_subplot()
        draw(axes, theme)
        _dress(axes, theme)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _dress(axes: Axes, theme: _Theme) -> None:
    axes.set_axisbelow(True)
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(theme.muted)
    axes.tick_params(colors=theme.ink, color=theme.muted)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(theme.muted)
        if axis.get_major_formatter().__class__.__name__ == "ScalarFormatter":
            axis.set_major_locator(MaxNLocator(5))
            axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axes.figure.patch.set_alpha(0.0)
    axes.patch.set_alpha(0.0)
