"""From the items of a STAC catalogue to scenes: one per site and date, its files by role."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pystac
import shapely

from models.printable import printable
from tasks.errors import JobError, SceneError, UndeclaredError
from tasks.files.declared import FOLDERS, is_local, lies_below
from tasks.inputs.clashes import fail_clashes
from tasks.inputs.earlier import Refusal, paired
from tasks.inputs.input import Input
from tasks.inputs.naming import observation_id, scene_id, stem_of
from tasks.inputs.stac import (
    Unreadable,
    cloud_cover,
    ground_of,
    item_date,
    last_change,
    read_items,
    search,
    stated_bands,
)
from tasks.jobs.job import Job
from tasks.jobs.nightly import StacSearch
from tasks.scenes.stated import Stated, role_beneath

logger = logging.getLogger(__name__)

# Footprints of editions of one picture differ by their rounding.
_SAME_GROUND_DEGREES = 1e-3
# How much of a tile holds no pixel: datastrips end within tiles, whose footprints may be those of the whole tile.
_EMPTY = "s2:nodata_pixel_percentage"
# Where a site stands in catalogues without grid:code.
_SITES = (
    ("s2:mgrs_tile",),
    ("mgrs:utm_zone", "mgrs:latitude_band", "mgrs:grid_square"),
    ("landsat:wrs_path", "landsat:wrs_row"),
)
_REMOTE = ("http", "https", "s3", "gs")
# One that does not tell is worse than any that does.
_UNTOLD_PERCENT = 101
_APART = (
    "Ids have letters, digits, '.', '_' and '-' only; name a property under nightly.stac.site that tells sites apart"
)


def list_catalogue(url: str, job: Job, first: str, last: str, refusal: Refusal) -> list[Input]:
    """Return the scenes of a catalogue, each with the earlier one that the job compares it with.

    A scene is a site and a date. Of several items of one picture the one with fewer clouds counts, to a whole percent,
    then the one that was updated last; items that show other ground fill what better ones do not observe.

    Args:
        url: Of the catalogue.
        job: Its ``nightly.stac`` says what to look for.
        first: ISO date, in UTC, of the earliest observations; older ones serve as the earlier ones of pairs alone.
        last: ISO date of the latest.
        refusal: Tells of a file why it cannot be that of an earlier scene, as ``paired`` asks.

    Returns:
        Scenes by site and date; what the catalogue names and cannot be used is among them, with the reason.

    Raises:
        CatalogueError: When the catalogue is not there, or does not answer.
        JobError: When the job does not say what to look for.
    """
    wanted, pair = job.nightly.stac, job.source.pair
    if wanted is None:
        raise JobError(f"job '{job.job}': {url} is a STAC catalogue; say under nightly.stac which assets to take")
    since = first if pair is None else (date.fromisoformat(first) - timedelta(days=pair.days[1])).isoformat()
    found = _scenes(search(url, wanted, since, last), wanted, url)
    scenes = sorted(fail_clashes(found, _APART), key=lambda scene: scene.id)
    if pair is not None:
        scenes = paired(scenes, pair, job.source.dates, refusal)
    return [scene for scene in scenes if scene.date is None or scene.date >= first]


def list_items(url: str, job: Job) -> Iterator[Input]:
    """Return the scenes that an address names: of an item, of a search's answer, or of a whole catalogue.

    Args:
        url: As ``read_items`` takes it.
        job: Its ``nightly.stac`` says which assets to take, and what to look for in a catalogue.

    Raises:
        CatalogueError: When there is no such document.
        JobError: When the job does not say which assets to take.
    """
    wanted = job.nightly.stac
    if wanted is None:
        raise JobError(f"job '{job.job}': {url} is a STAC document; say under nightly.stac.assets which assets to take")
    place = url if "://" in url else str(Path(url).absolute())
    return _scenes(read_items(place, wanted), wanted, place)


def _scenes(items: Iterable[pystac.Item | Unreadable], wanted: StacSearch, url: str) -> Iterator[Input]:
    found: dict[tuple[str, str], list[pystac.Item]] = {}
    for item in items:
        if isinstance(item, Unreadable):
            reason = f"{item.href}: not a readable STAC item ({item.why})"
            yield Input(id=_id(stem_of(item.href)), files={}, error=reason, beside=(item.href,))
            continue
        site, day = site_of_item(item, wanted.site), item_date(item)
        if site is None or day is None:
            told = ", ".join(sorted(item.properties)) or "none"
            why = f"no property '{wanted.site}' names its site; found {told}. Set nightly.stac.site"
            yield Input(id=_id(item.id), files={}, date=day, error=f"{item.id}: {why}")
            continue
        found.setdefault((site, day), []).append(item)
    for (site, day), items in found.items():
        yield _scene(sorted(items, key=_merit, reverse=True), site, day=day, wanted=wanted, url=url)


def _scene(items: list[pystac.Item], site: str, day: str, wanted: StacSearch, url: str) -> Input:
    """Put a scene together from its items, the best first."""
    name = _id(re.sub(r"[/\\]", "_", f"{site}_{day.replace('-', '')}"))
    used: list[pystac.Item] = []
    remarks = []
    files: dict[str, str] = {}
    stated: dict[str, tuple[Stated, ...]] = {}
    for item in items:
        twin = next((other for other in used if _is_same_picture(item, other)), None)
        if twin is not None:
            logger.info("%s: %s passed over: another edition of the picture of %s", name, item.id, twin.id)
            continue
        try:
            hrefs = {role: _href(item, key, url) for role, key in wanted.assets.items()}
            told = {role: stated_bands(item, key) for role, key in wanted.assets.items()}
            if not used:
                scene_name = observation_id(site, day)
        except SceneError as error:
            if not used:
                return Input(id=name, files={}, site=site, date=day, error=str(error), beside=_named_by(item))
            remarks.append(f"{item.id} shows other ground of {name} and was passed over: {error}")
            continue
        files |= {role_beneath(role, len(used)): href for role, href in hrefs.items()}
        stated |= {role_beneath(role, len(used)): bands for role, bands in told.items() if bands}
        used.append(item)
    if len(used) > 1:
        ids = ", then ".join(f"{item.id}{_clouds(item)}" for item in used)
        remarks.append(
            f"{name} was put together from {len(used)} items, each where those before it show nothing: {ids}"
        )
    revision = "\n".join(_revision(item, wanted) for item in used)
    return Input(
        id=scene_name, files=files, site=site, date=day, revision=revision, stated=stated, remarks=tuple(remarks)
    )


def _named_by(item: pystac.Item) -> tuple[str, ...]:
    """Return the paths and URLs that an item's assets name, which an error may name, too."""
    named = ((asset.href, asset.get_absolute_href()) for asset in item.assets.values())
    return tuple(href for hrefs in named for href in hrefs if href)


def _clouds(item: pystac.Item) -> str:
    cover = cloud_cover(item)
    return "" if cover is None else f" ({cover:.3g} % cloud)"


def _is_same_picture(one: pystac.Item, other: pystac.Item) -> bool:
    """Tell whether two items are editions of one picture: of one moment and ground, processed twice."""
    grounds = (ground_of(one), ground_of(other))
    return (
        one.datetime == other.datetime
        and one.properties.get(_EMPTY) == other.properties.get(_EMPTY)
        and bool(shapely.equals_exact(*grounds, tolerance=_SAME_GROUND_DEGREES, normalize=True))
    )


def _href(item: pystac.Item, key: str, url: str) -> str:
    """Return where an asset lies, absolute; a catalogue of others names no files of this machine.

    Raises:
        SceneError: When the item has no such asset, or it cannot be read from there.
        UndeclaredError: When it lies outside the folder of a catalogue on this machine.
    """
    if key not in item.assets:
        raise SceneError(
            f"{item.id}: no asset '{key}'; found {', '.join(item.assets) or 'none'}. Name it under nightly.stac.assets"
        )
    href = item.assets[key].get_absolute_href() or item.assets[key].href
    if urlsplit(href).scheme in _REMOTE:
        return href
    if not is_local(href) or not is_local(url):
        raise SceneError(f"{item.id}: asset '{key}' is {href}; assets are read from {', '.join(_REMOTE)}")
    if not lies_below(Path(href), [Path(url).parent]):
        raise UndeclaredError(
            f"{item.id}: asset '{key}' is {href}, which is not below the catalogue's folder. Move it there, or "
            f"allow its folder in {FOLDERS}"
        )
    return href


def site_of_item(item: pystac.Item, name: str) -> str | None:
    """Return the site that an item names under a property, or as its mission does; None where it names none."""
    for names in ((name,), *_SITES):
        parts = [item.properties.get(one) for one in names]
        if all(part not in (None, "") for part in parts):
            texts = (f"{part:03d}" if isinstance(part, int) and len(parts) == 2 else str(part) for part in parts)
            return printable("".join(texts))
    return None


def _merit(item: pystac.Item) -> tuple[float, str, str]:
    cover = cloud_cover(item)
    return -(_UNTOLD_PERCENT if cover is None else round(cover)), last_change(item), item.id


def _revision(item: pystac.Item, wanted: StacSearch) -> str:
    """Return what changes when an item does: files behind URLs are not hashed."""
    sums: list[Any] = [item.assets[key].extra_fields.get("file:checksum") for key in wanted.assets.values()]
    return f"{item.id} {last_change(item)} {sums}"


def _id(name: str) -> str:
    try:
        return scene_id(name)
    except SceneError:
        return "unnamed"
