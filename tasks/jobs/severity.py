"""Tables of burn severity: from an index to classes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.jobs.section import Section

Index = Literal["dnbr", "rdnbr", "rbr"]


class SeverityClass(Section):
    """One class of a severity table.

    Attributes:
        name: As reports have it.
        above: Lowest value of the index that belongs to it, times 1000; None for the lowest class.
        colour: ``#rrggbb``.
    """

    name: str
    above: float | None = None
    colour: Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")]


class SeverityTable(Section):
    """From an index to classes of severity.

    Attributes:
        name: Of the table.
        index: What its thresholds are of.
        classes: From the lowest to the highest.
        high: Name of the class that alerts on high severity count, with all above it.
        reference: The publication.
        verified: Whether the thresholds were compared with the publication itself.
    """

    name: str
    index: Index
    classes: Annotated[tuple[SeverityClass, ...], Field(min_length=1, max_length=250)]
    high: str
    reference: str
    verified: bool = False

    @model_validator(mode="after")
    def _thresholds_rise(self) -> SeverityTable:
        bounds = [entry.above for entry in self.classes]
        known = [bound for bound in bounds[1:] if bound is not None]
        if bounds[0] is not None or len(known) != len(bounds) - 1 or known != sorted(set(known)):
            raise ValueError("'above' is left out for the first class and rises from class to class after it")
        if self.high not in {entry.name for entry in self.classes}:
            raise ValueError(f"'high' names no class of the table: '{self.high}'")
        return self


_GREENS = ("#1a9641", "#a6d96a")
_LADDER = ("#fff7bc", "#fec44f", "#fd8d3c", "#e31a1c", "#7a0177")


def _table(name: str, index: str, classes: tuple[tuple[str, float | None, str], ...], reference: str) -> SeverityTable:
    entries = tuple(SeverityClass(name=label, above=above, colour=colour) for label, above, colour in classes)
    return SeverityTable.model_validate(
        {"name": name, "index": index, "classes": entries, "high": classes[-1][0], "reference": reference}
    )


# None of these was compared with the publication itself: 'verified' stays false until somebody has the page open.
TABLES = {
    table.name: table
    for table in (
        _table(
            "key-benson-2006",
            "dnbr",
            (
                ("high regrowth", None, _GREENS[0]),
                ("low regrowth", -250.0, _GREENS[1]),
                ("unburned", -100.0, _LADDER[0]),
                ("low", 100.0, _LADDER[1]),
                ("moderate-low", 270.0, _LADDER[2]),
                ("moderate-high", 440.0, _LADDER[3]),
                ("high", 660.0, _LADDER[4]),
            ),
            "Key and Benson 2006, Landscape Assessment, FIREMON, USDA RMRS-GTR-164-CD",
        ),
        _table(
            "miller-thode-2007",
            "rdnbr",
            (
                ("unchanged", None, _LADDER[0]),
                ("low", 69.0, _LADDER[1]),
                ("moderate", 316.0, _LADDER[3]),
                ("high", 641.0, _LADDER[4]),
            ),
            "Miller and Thode 2007, Remote Sensing of Environment 109:66-80 (Sierra Nevada)",
        ),
        _table(
            "effis-dnbr",
            "dnbr",
            (
                ("unburned or very low", None, _LADDER[0]),
                ("low", 100.0, _LADDER[1]),
                ("moderate", 255.0, _LADDER[2]),
                ("high", 419.0, _LADDER[3]),
                ("very high", 660.0, _LADDER[4]),
            ),
            "European Forest Fire Information System (EFFIS), dNBR classes",
        ),
    )
}
