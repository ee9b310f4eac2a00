"""What was followed over dates, as the page of a batch and the Prefect UI show it."""

from __future__ import annotations

from dataclasses import dataclass

MOST_ROWS = 200
NOTHING = "\u2013"


@dataclass(frozen=True, kw_only=True)
class Trail:
    """A table of what goes on from scene to scene: fires of a site, lesions of a patient.

    Attributes:
        title: Its heading.
        header: One cell per column.
        rows: As many cells each; the first names its row.
        links: Relative to OUT, one per row; empty where there is nothing to open.
        note: Below the table.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    links: tuple[str, ...]
    note: str = ""


def left_out(found: int) -> str:
    """Return a sentence on what is beyond the rows that are shown; nothing where all are."""
    return f" {found - MOST_ROWS} more are not shown." if found > MOST_ROWS else ""
