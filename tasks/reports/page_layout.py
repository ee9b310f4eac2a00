"""From the blocks of a report to what a template draws: anchors, groups of pictures, columns of numbers."""

from __future__ import annotations

import base64
import io
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from markupsafe import Markup
from PIL import Image

from tasks.reports.blocks import Block, Chart, Paragraph, Picture, Section, Table
from tasks.reports.legend import NOT_OBSERVED

# Pictures this much wider than high, or this many pixels wide, take the page's whole width.
_WIDE = 1.75
_WIDE_PIXELS = 1000
# Of pictures in a page, 0 to 100: a map of a satellite picture takes a tenth of what it takes without loss.
_QUALITY = 55
# A number, perhaps with a sign, a unit and an interval; what could not be computed does not make a column text.
_NUMBER = re.compile(
    r"[<>~\u00b1\u2212+-]?\d[\d,.]*( ?[%a-zA-Z\u00b2\u00b3/]{1,6})?(( \u00b1| to) .+)?|not computed|[\u2013\u2014-]?"
)


@dataclass(frozen=True)
class Entry:
    """One class in a legend."""

    name: str
    colour: str
    text: str
    hatched: bool


@dataclass(frozen=True, kw_only=True)
class Plate:
    """A picture or chart, embedded.

    Attributes:
        kind: ``picture``, ``picture wide`` or ``chart``.
        light: Data URI.
        dark: The same for dark pages, or nothing.
        alt: Accessible name.
        caption: Below it.
        size: Attributes that hold its place while it is decoded.
        legend: What its colours mean.
    """

    kind: str
    light: str
    dark: str
    alt: str
    caption: str
    size: Markup
    legend: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True)
class TableView:
    """A table and which of its columns are numbers."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str
    numeric: tuple[bool, ...]


@dataclass(frozen=True)
class Group:
    """Neighbours that are drawn together: ``plates``, one ``table``, or ``text``."""

    kind: str
    items: tuple[Any, ...]


@dataclass(frozen=True)
class SectionView:
    """A section with the name that links lead to."""

    title: str
    anchor: str
    groups: tuple[Group, ...]


def laid_out(sections: Sequence[Section]) -> list[SectionView]:
    """Return what a template draws of sections."""
    return [
        SectionView(section.title, f"section-{index}", _groups(section.blocks))
        for index, section in enumerate(sections, start=1)
    ]


def table_view(table: Table) -> TableView:
    """Find the columns in which every cell reads as a number."""
    columns = list(zip(*table.rows, strict=True)) if table.header and table.rows else []
    numeric = [bool(index) and all(map(_NUMBER.fullmatch, column)) for index, column in enumerate(columns)]
    width = len(table.header) or max(map(len, table.rows), default=0)
    return TableView(
        caption=table.caption,
        header=table.header,
        rows=table.rows,
        note=table.note,
        numeric=tuple(numeric) or (False,) * width,
    )


def _groups(blocks: Sequence[Block]) -> tuple[Group, ...]:
    found: list[Group] = []
    for kind, run in groupby(blocks, _kind):
        members = list(run)
        if kind == "table":
            found += [Group(kind, (table_view(block),)) for block in members if isinstance(block, Table)]
        elif kind == "plates":
            plates = tuple(_plate(block) for block in members if isinstance(block, (Picture, Chart)))
            found.append(Group(kind, plates))
        else:
            found.append(Group(kind, tuple(members)))
    return tuple(found)


def _kind(block: Block) -> str:
    if isinstance(block, Paragraph):
        return "text"
    return "table" if isinstance(block, Table) else "plates"


def _plate(block: Picture | Chart) -> Plate:
    if isinstance(block, Chart):
        light, dark = (_data_uri("image/svg+xml", svg) for svg in (block.light, block.dark))
        return Plate(
            kind="chart", light=light, dark=dark, alt=block.alt, caption=block.caption, size=Markup(""), legend=()
        )
    width, height = struct.unpack(">II", block.png[16:24])
    size = Markup(' width="{}" height="{}"').format(width, height)
    legend = tuple(Entry(entry.name, entry.colour, entry.text, entry.name == NOT_OBSERVED) for entry in block.legend)
    kind = "picture wide" if width > _WIDE * height or width > _WIDE_PIXELS else "picture"
    return Plate(
        kind=kind,
        light=_data_uri(*_light(block.png)),
        dark="",
        alt=block.alt,
        caption=block.caption,
        size=size,
        legend=legend,
    )


def _light(png: bytes) -> tuple[str, bytes]:
    """Return the media type and the bytes of a picture for eyes: where that is smaller, not to the last bit."""
    encoded = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.save(encoded, "WEBP", quality=_QUALITY, method=2)
    return min(("image/webp", encoded.getvalue()), ("image/png", png), key=lambda one: len(one[1]))


def _data_uri(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
