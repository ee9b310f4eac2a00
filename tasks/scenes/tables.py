"""Tables as CSV: UTF-8, commas, decimal points; what a spreadsheet wrote otherwise is refused by what it is."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_HOW = "Save it as CSV (UTF-8, comma delimited)"


class TableError(ValueError):
    """A file is no CSV as it is read here; the text says why, without the file's name."""


@dataclass(frozen=True)
class Table:
    """Cells as text.

    Attributes:
        columns: By the header's names, in order.
        rows: One mapping per line, empty cells ``""``.
    """

    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]


def read_table(path: Path) -> Table:
    """Read a CSV with a header.

    Raises:
        TableError: When it cannot be read, or is written otherwise.
    """
    lines = csv.reader(io.StringIO(_decoded(path), newline=""))
    try:
        header = tuple(name.strip() for name in next(lines, []))
        _refuse_other_separator(header)
        rows = [_row(header, cells, lines.line_num) for cells in lines if cells]
    except csv.Error as error:
        raise TableError(f"not a readable CSV: {error}. {_HOW}") from error
    return Table(header, tuple(rows))


def _decoded(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TableError(f"cannot be read: {error.strerror}. Check the path") from error
    if content[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in content[:4096]:
        raise TableError(f"is not text in UTF-8, but UTF-16, or no text at all. {_HOW}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        guess = content[error.start : error.start + 1].decode("cp1252", errors="replace")
        raise TableError(
            f"is not in UTF-8: line {line} holds the byte 0x{content[error.start]:02x}, which Windows-1252 writes for "
            f"'{guess}'. {_HOW}"
        ) from error


def _refuse_other_separator(header: tuple[str, ...]) -> None:
    if len(header) != 1:
        return
    for separator, words in _SEPARATORS.items():
        if separator in header[0]:
            raise TableError(f"its columns are separated by {words}, not by commas: {header[0][:60]!r}. {_HOW}")


def _row(header: tuple[str, ...], cells: list[str], line: int) -> dict[str, str]:
    if len(cells) > len(header):
        raise TableError(
            f"line {line} has {len(cells)} cells and the header {len(header)}: a comma within a cell, as in a decimal "
            "number, parts it in two. Write decimal points, and texts with commas in quotes"
        )
    return dict(zip(header, (*cells, *[""] * (len(header) - len(cells))), strict=True))
