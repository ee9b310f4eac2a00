"""Which class of burn severity a value belongs to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.jobs.fire import FireAnalysis
from tasks.jobs.severity import TABLES, SeverityTable

UNRATED = "severity not known"
CAVEAT = (
    "Thresholds of burn severity belong to the ecosystem they were fitted in; against field plots such maps reach "
    "50-60 % agreement (JFSP, BARC). While a fire burns, dNBR is provisional."
)


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
