"""Tables of burn severity, and which class a value belongs to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.answers.fire.settings import FireAnalysis, SeverityClass, SeverityTable

UNRATED = "severity not known"
CAVEAT = (
    "Thresholds of burn severity belong to the ecosystem they were fitted in; against field plots such maps reach "
    "50-60 % agreement (JFSP, BARC). While a fire burns, dNBR is provisional."
)
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


def table_of(settings: FireAnalysis) -> SeverityTable:
    """Return the severity table that a job names or gives."""
    return TABLES[settings.severity] if isinstance(settings.severity, str) else settings.severity


def classify(values: NDArray[np.floating], table: SeverityTable) -> NDArray[np.uint8]:
    """Return the number of the severity class, from 1; a threshold belongs to the class above it.

    Args:
        values: Of the table's index, not multiplied by 1000; NaN where it is not known.
        table: At most 250 classes.

    Returns:
        Uint8 of the same shape; the number after the last class where the index is not known.
    """
    # In float32, as the index is: a stored 0.27 shall reach the class that begins at 270.
    bounds = np.array([entry.above for entry in table.classes[1:]], np.float64) / 1000.0
    classes = np.searchsorted(bounds.astype(np.float32), values.astype(np.float32), side="right") + 1
    return np.where(np.isnan(values), len(table.classes) + 1, classes).astype(np.uint8)
