"""What a report is made of, before it is laid out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows of cells; cells are text as it shall be read.

    Attributes:
        caption: The table's accessible name.
        header: One cell per column.
        rows: As many cells each.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Picture:
    """An embedded picture.

    Attributes:
        png: The file's bytes.
        alt: What it shows, for those who do not see it.
        caption: Below the picture.
    """

    png: bytes
    alt: str
    caption: str = ""


Block: TypeAlias = Paragraph | Table | Picture


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Block, ...]
