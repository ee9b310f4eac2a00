"""The spray map: one pixel per zone, as a COG."""

from __future__ import annotations

from pathlib import Path

from models.card import ClassEntry
from tasks.answers.crop.weed import DECISIONS, LEAVE, NOTHING, SPRAY, SprayZones
from tasks.products.cog import RasterProductSpec, write_cog

_COLOURS = {LEAVE: "#e5f0d8", SPRAY: "#c2410c", NOTHING: "#d6d3d1"}
_CLASSES = tuple(ClassEntry(name=DECISIONS[kind], colour=colour) for kind, colour in sorted(_COLOURS.items()))


def write_spray_map(path: Path, zones: SprayZones) -> None:
    """Write 1 (spray), 0 (leave), 2 (nothing to spray) and 255 (undecided) for every zone.

    Args:
        path: Of the GeoTIFF.
        zones: Decided as they are written, so that memory does not grow with the mask.
    """
    tags = {"weed_classes": str(zones.rule.weed), "crop_classes": str(zones.rule.crop)}
    spec = RasterProductSpec(
        zones.zone_grid, classes=_CLASSES, tags={**tags, "spray_above": str(zones.rule.spray_above)}
    )
    write_cog(zones.decisions, path, spec)
