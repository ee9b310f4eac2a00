"""STAC catalogues that tests search: files on disk, the same over HTTP, and a small API."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pystac

BBOX = (9.0, 45.0, 9.2, 45.2)


def make_item(
    name: str,
    day: str,
    assets: dict[str, str],
    site: str | None = "MGRS-32TQM",
    cloud: float | None = 10.0,
    updated: str | None = None,
    bbox: tuple[float, float, float, float] = BBOX,
) -> pystac.Item:
    """An item of a day, at 23:30 UTC; ``assets`` are hrefs by key."""
    west, south, east, north = bbox
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    told = {"grid:code": site, "eo:cloud_cover": cloud, "updated": updated}
    item = pystac.Item(
        name,
        {"type": "Polygon", "coordinates": [ring]},
        list(bbox),
        datetime.fromisoformat(f"{day}T23:30:00").replace(tzinfo=UTC),
        {key: value for key, value in told.items() if value is not None},
        collection="s2",
    )
    for key, href in assets.items():
        item.add_asset(key, pystac.Asset(href))
    return item


def write_catalogue(folder: Path, items: list[pystac.Item], collection: str = "s2") -> Path:
    """Write catalogue, collection and items, each linked by relative paths; what was there is replaced."""
    catalogue = pystac.Catalog("test", "Test")
    extent = pystac.Extent(pystac.SpatialExtent([list(BBOX)]), pystac.TemporalExtent([[None, None]]))
    child = pystac.Collection(collection, "Scenes", extent)
    catalogue.add_child(child)
    child.add_items(items)
    catalogue.normalize_hrefs(str(folder))
    catalogue.save(pystac.CatalogType.SELF_CONTAINED)
    return folder / "catalog.json"


@contextmanager
def served(folder: Path, method: str = "POST") -> Iterator[str]:
    """Serve a folder and an API on this machine for as long as the context lasts."""
    script = Path(__file__).with_name("catalogue_process.py")
    command = [sys.executable, "-S", str(script), str(folder), method]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()
