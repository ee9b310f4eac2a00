"""Lines for whoever sits before a terminal: none is wider than it, and what one has to copy is never cut."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass

from rich.console import Console
from rich.text import Text

# What a line says of itself before its text: go, done, failed.
_MARK = 9


@dataclass(frozen=True)
class Told:
    """A line of a report.

    Attributes:
        text: What is said.
        mark: A word before it; continued lines, and lines without a mark, stand below the text.
        style: Of the mark.
        is_flush: Whether it stands at the edge, without room for a mark.
        indent: Of its continued lines, where it stands at the edge.
        is_whole: Whether somebody may want to copy it, such as a path: it is one line, however long.
    """

    text: str
    mark: str = ""
    style: str = ""
    _: KW_ONLY
    is_flush: bool = False
    indent: int = 0
    is_whole: bool = False


def tell(console: Console, lines: Iterable[Told]) -> None:
    """Print lines; on a terminal they are broken between words, in a file they are not broken at all."""
    for line in lines:
        head = "" if line.is_flush else line.mark.ljust(_MARK)
        told = Text.assemble((head, line.style), "\n".join(_pieces(console, line, " " * (len(head) or line.indent))))
        console.print(told, soft_wrap=True, highlight=False)


def tell_path(console: Console, *paths: object) -> None:
    """Print paths or addresses, each by itself on a line, to be copied."""
    tell(console, [Told(str(path), is_flush=True, is_whole=True) for path in paths])


def _pieces(console: Console, line: Told, indent: str) -> list[str]:
    parts = line.text.split("\n")
    if line.is_whole or not console.is_terminal:
        pieces = parts
    else:
        width = max(20, console.width - len(indent))
        # A path within a sentence is a word that is not broken.
        pieces = [
            piece
            for part in parts
            for piece in textwrap.wrap(part, width, break_long_words=False, break_on_hyphens=False) or [""]
        ]
    return [pieces[0], *(indent + piece for piece in pieces[1:])]
