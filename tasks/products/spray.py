"""The spray map: one pixel per zone, as a COG."""

from __future__ import annotations

from pathlib import Path

from models.card import ClassEntry
from tasks.answers.crop.weed import SprayZones
from tasks.products.cog import RasterProductSpec, write_cog

_CLASSES = (ClassEntry(name="leave", colour="#e5f0d8"), ClassEntry(name="spray", colour="#c2410c"))


def write_spray_map(path: Path, zones: SprayZones) -> None:
    """Write 1 (spray), 0 (leave) and 255 (undecided) for every zone.

    Args:
        path: Of the GeoTIFF.
        zones: Decided as they are written, so that memory does not grow with the mask.
    """
    tags = {"weed_classes": str(zones.rule.weed), "crop_classes": str(zones.rule.crop)}
    spec = RasterProductSpec(
        zones.zone_grid, classes=_CLASSES, tags={**tags, "spray_above": str(zones.rule.spray_above)}
    )
    write_cog(zones.decisions, path, spec)
