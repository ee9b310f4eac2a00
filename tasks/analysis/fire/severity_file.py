"""Burn severity as a cloud-optimized GeoTIFF with the classes of its table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from models.card import ClassEntry
from tasks.answers.fire.severity import UNRATED
from tasks.geometry.box import Box
from tasks.geometry.raster_grid import RasterGrid
from tasks.jobs.severity import SeverityTable
from tasks.products.cog import RasterProductSpec, write_cog

NOT_BURNED = ClassEntry(name="not burned", colour="#000000")


def severity_classes(table: SeverityTable) -> tuple[ClassEntry, ...]:
    """Return the classes of a severity raster: not burned, those of the table, severity not known."""
    rated = tuple(ClassEntry(name=entry.name, colour=entry.colour) for entry in table.classes)
    return (NOT_BURNED, *rated, ClassEntry(name=UNRATED, colour="#8c8c8c"))


def write_severity(
    read: Callable[[Box], NDArray[Any]],
    destination: Path,
    grid: RasterGrid,
    table: SeverityTable,
    offset: float,
) -> None:
    """Write severity within the burned area; 255 is not observed.

    Args:
        read: Reads a window of class numbers: 0 not burned, from 1 those of the table, then not known, 255.
        destination: Path of the GeoTIFF.
        grid: Of the mask.
        table: Its name, reference and state go into the tags.
        offset: Taken off dNBR.

    Raises:
        ProductError: When the file cannot be written or does not verify.
    """
    tags = {
        "SWATHE_SEVERITY_TABLE": table.name,
        "SWATHE_SEVERITY_INDEX": table.index,
        "SWATHE_SEVERITY_REFERENCE": table.reference,
        "SWATHE_SEVERITY_VERIFIED": str(table.verified).lower(),
        "SWATHE_DNBR_OFFSET": f"{offset:.4f}",
    }
    write_cog(read, destination, RasterProductSpec(grid, "mask", severity_classes(table), tags))
