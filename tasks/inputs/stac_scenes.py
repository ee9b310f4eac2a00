"""From the items of a STAC catalogue to scenes: one per site and date, its files by role."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pystac

from models.printable import printable
from tasks.errors import JobError, SceneError, UndeclaredError
from tasks.files.declared import FOLDERS, is_local, lies_below
from tasks.inputs.clashes import fail_clashes
from tasks.inputs.earlier import Refusal, paired
from tasks.inputs.input import Input
from tasks.inputs.naming import observation_id, scene_id, stem_of
from tasks.inputs.stac import Unreadable, cloud_cover, item_date, last_change, search
from tasks.jobs.job import Job
from tasks.jobs.nightly import StacSearch

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

    A scene is a site and a date. Of several items of these the one with fewer clouds counts, to a whole percent, then
    the one that was updated last.

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
    scenes = sorted(fail_clashes(_scenes(url, wanted, since, last), _APART), key=lambda scene: scene.id)
    if pair is not None:
        scenes = paired(scenes, pair, job.source.dates, refusal)
    return [scene for scene in scenes if scene.date is None or scene.date >= first]


def _scenes(url: str, wanted: StacSearch, first: str, last: str) -> Iterator[Input]:
    best: dict[tuple[str, str], pystac.Item] = {}
    for found in search(url, wanted, first, last):
        if isinstance(found, Unreadable):
            reason = f"{found.href}: not a readable STAC item ({found.why})"
            yield Input(_id(stem_of(found.href)), {}, error=reason, beside=(found.href,))
            continue
        site, day = _site(found, wanted.site), item_date(found)
        if site is None or day is None:
            told = ", ".join(sorted(found.properties)) or "none"
            why = f"no property '{wanted.site}' names its site; found {told}. Set nightly.stac.site"
            yield Input(_id(found.id), {}, date=day, error=f"{found.id}: {why}")
            continue
        known = best.setdefault((site, day), found)
        if _merit(found) > _merit(known):
            best[site, day] = found
    for (site, day), item in best.items():
        yield _scene(item, site, day, wanted, url)


def _scene(item: pystac.Item, site: str, day: str, wanted: StacSearch, url: str) -> Input:
    name = _id(re.sub(r"[/\\]", "_", f"{site}_{day.replace('-', '')}"))
    try:
        files = {role: _href(item, key, url) for role, key in wanted.assets.items()}
        return Input(observation_id(site, day), files, site, day, revision=_revision(item, wanted))
    except SceneError as error:
        named = ((asset.href, asset.get_absolute_href()) for asset in item.assets.values())
        beside = tuple(href for hrefs in named for href in hrefs if href)
        return Input(name, {}, site, day, error=str(error), beside=beside)


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


def _site(item: pystac.Item, name: str) -> str | None:
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
