"""What a report is made of, before it is laid out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tasks.reports.legend import LegendEntry


@dataclass(frozen=True)
class Paragraph:
    """Running text.

    Attributes:
        text: Plain, without markup.
        tone: ``note`` stands apart, ``warning`` cannot be overlooked.
    """

    text: str
    tone: Literal["plain", "note", "warning"] = "plain"


@dataclass(frozen=True)
class Table:
    """Rows of cells; cells are text as it shall be read.

    Attributes:
        caption: The table's accessible name.
        header: One cell per column.
        rows: As many cells each; the first names its row.
        note: Below the table: definitions, conventions.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """An embedded picture.

    Attributes:
        png: The file's bytes.
        alt: What it shows, for those who do not see it.
        caption: Below the picture.
        legend: What its colours mean.
    """

    png: bytes
    alt: str
    caption: str = ""
    legend: tuple[LegendEntry, ...] = ()


@dataclass(frozen=True)
class Chart:
    """An embedded plot, drawn twice.

    Attributes:
        light: SVG on a light page.
        dark: The same on a dark page.
        alt: What it shows, numbers included, for those who do not see it.
        caption: Below the plot.
    """

    light: bytes
    dark: bytes
    alt: str
    caption: str = ""


Block: TypeAlias = Paragraph | Table | Picture | Chart


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Block, ...]
