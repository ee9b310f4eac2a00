"""A product as a STAC item, so that catalogues and their readers find it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from pyproj import CRS

from models.card import ClassEntry
from tasks.geometry.footprint import DIGITS, footprint
from tasks.geometry.longitudes import bounding_box
from tasks.geometry.raster_grid import RasterGrid

ITEM = "item.json"
_VERSION = "1.0.0"
_PROJECTION = "https://stac-extensions.github.io/projection/v1.1.0/schema.json"
_CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
_PROCESSING = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
# Media types and roles of the files of a product, by their endings.
_FILES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    ".tif": (_COG, ("data",)),
    ".gpkg": ("application/geopackage+sqlite3", ("data",)),
    ".parquet": ("application/vnd.apache.parquet", ("data",)),
    ".png": ("image/png", ("overview",)),
    ".html": ("text/html", ("metadata",)),
    ".json": ("application/json", ("metadata",)),
    ".xml": ("application/xml", ("metadata",)),
}
# Points along each side of a footprint: sides of a projection are curves in degrees.


def write_item(
    folder: Path,
    scene: str,
    *,
    grid: RasterGrid,
    dates: Collection[str],
    classes: Sequence[ClassEntry],
    beside: Sequence[str],
) -> None:
    """Write ``item.json``, a pure function of its arguments and of the names of the product's files.

    Nothing is written where the raster has no place on the Earth or no date: an item has both.

    Args:
        folder: The product, not yet published, with the other files of the analysis.
        scene: Its id.
        grid: Of the mask.
        dates: ISO dates of the pictures.
        classes: Of the mask.
        beside: Names of the files that others write at the same time, or later.
    """
    outline = footprint(grid)
    if outline is None or not dates:
        return
    names = sorted({path.name for path in folder.iterdir() if path.is_file()} | set(beside))
    item = {
        "type": "Feature",
        "stac_version": _VERSION,
        "stac_extensions": [_PROJECTION, _CLASSIFICATION, _PROCESSING],
        "id": scene,
        "geometry": shapely.geometry.mapping(outline),
        "bbox": [round(edge, DIGITS) for edge in bounding_box(np.array([outline], object)) or ()],
        "properties": {
            "datetime": f"{max(dates)}T00:00:00Z",
            "start_datetime": f"{min(dates)}T00:00:00Z",
            "end_datetime": f"{max(dates)}T23:59:59Z",
            "processing:software": {"swathe": version("swathe")},
            "proj:epsg": CRS.from_wkt(grid.crs_wkt or "").to_epsg(),
            "proj:shape": list(grid.shape),
            "proj:transform": [*grid.affine, 0.0, 0.0, 1.0],
        },
        "links": [],
        "assets": {name: _asset(name, classes) for name in names if name != ITEM and Path(name).suffix in _FILES},
    }
    text = json.dumps(item, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    (folder / ITEM).write_text(text + "\n", encoding="utf-8")


def _asset(name: str, classes: Sequence[ClassEntry]) -> dict[str, Any]:
    media_type, roles = _FILES[Path(name).suffix]
    asset: dict[str, Any] = {"href": f"./{name}", "type": media_type, "roles": list(roles)}
    if name == "mask.tif":
        asset["classification:classes"] = [
            {"value": number, "name": _word(entry.name), "title": entry.name, "color_hint": entry.colour[1:].upper()}
            for number, entry in enumerate(classes)
        ]
    return asset


def _word(name: str) -> str:
    """Return a name as the classification extension takes it: letters, digits, ``-`` and ``_``."""
    return "".join(letter if (letter.isascii() and letter.isalnum()) or letter in "-_" else "_" for letter in name)
