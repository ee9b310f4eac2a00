"""A STAC catalogue, a folder of linked files or a server's API, searched for items."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pystac
import requests
import shapely
from pyproj import CRS
from pystac_client import ItemSearch
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from shapely.geometry.base import BaseGeometry

from models.errors import SwatheError
from tasks.answers.fire.geodesy import reprojected
from tasks.errors import CatalogueError, SceneError, UndeclaredError
from tasks.files.declared import FOLDERS, REMOTE, is_allowed_remote, is_local, lies_below
from tasks.geometry.longitudes import box_shape, boxes_of, cut
from tasks.jobs.nightly import StacSearch
from tasks.scenes.stated import Stated
from tasks.scenes.vectors import read_vectors

_TIMEOUT_S = 60.0
_RETRIES = 3
# Items per page of an API.
_PAGE = 250
_DOCUMENTS = ("Feature", "FeatureCollection", "Catalog", "Collection")
# What may be wrong with a document that somebody else wrote, or with the way to it.
_WRONG = (
    APIError,
    OSError,
    requests.RequestException,
    pystac.STACError,
    pystac.STACTypeError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    UndeclaredError,
    shapely.errors.ShapelyError,
)


# What says that the offset of Sentinel-2's newer processing is taken off in the files already.
_APPLIED = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
_TOLD_OF_BANDS = {"raster:scale", "raster:offset", "nodata"}


@dataclass(frozen=True)
class Unreadable:
    """A document that the catalogue names and that cannot be had.

    Attributes:
        href: Where it should be.
        why: In words.
    """

    href: str
    why: str


def read_items(url: str, wanted: StacSearch) -> Iterator[pystac.Item | Unreadable]:
    """Return what an address names: an item, all items of a search's answer, or what is wanted of a catalogue.

    Args:
        url: Of a document on this machine or another.
        wanted: What is looked for in a catalogue; items that are named themselves are taken whatever they are.

    Yields:
        Items, and what could not be read among those that may be some.

    Raises:
        CatalogueError: When there is no such document.
    """
    io = StacApiIO(timeout=_TIMEOUT_S, max_retries=_RETRIES)
    seen: set[str] = set()
    page: str | None = url
    while page is not None and page not in seen:
        seen.add(page)
        facts = _document(page, io)
        if facts.get("type") in ("Catalog", "Collection"):
            yield from search(url, wanted, None, None)
            return
        for one in [facts] if facts["type"] == "Feature" else facts.get("features") or []:
            yield _named(one, page)
        try:
            page = _next_page(facts, page)
        except _WRONG as error:
            raise CatalogueError(f"{page}: what follows cannot be read ({_told(error)})") from error


def _next_page(facts: dict[str, Any], url: str) -> str | None:
    """Return where a search's answer goes on; None where it does not.

    Raises:
        CatalogueError: When one has to ask for it with a body of its own.
    """
    links = facts.get("links", []) if facts["type"] == "FeatureCollection" else []
    link = next((link for link in links if link.get("rel") == "next"), None)
    if link is None:
        return None
    if link.get("method", "GET") != "GET":
        raise CatalogueError(
            f"{url}: the answer goes on where only a search can ask for it. Give the address of the API's first page, "
            "and say under nightly.stac what to look for"
        )
    href: str = pystac.utils.make_absolute_href(link["href"], url)
    _require_near(href, url)
    return href


def _document(url: str, io: StacApiIO) -> dict[str, Any]:
    try:
        facts = io.read_json(url)
        if facts.get("type") not in _DOCUMENTS:
            raise ValueError(f"a document of type {facts.get('type')}, and none of {', '.join(_DOCUMENTS)}")
    except _WRONG as error:
        raise CatalogueError(
            f"{url}: no STAC document can be read there ({_told(error)}). Give the address of an item, of a search's "
            "answer, of catalog.json, or of an API's first page"
        ) from error
    return facts


def _named(facts: Any, url: str) -> pystac.Item | Unreadable:  # noqa: ANN401 - whatever JSON can say
    """Return an item whose files lie where it says, as seen from the document that it stands in."""
    if not isinstance(facts, dict):
        return Unreadable(url, "an item that is no object")
    item = _item(facts, url)
    if isinstance(item, Unreadable):
        return item
    try:
        # What is no place shall be found out here, where it costs this item alone.
        ground_of(item)
        if item.get_self_href() is None:
            item.set_self_href(url)
    except _WRONG as error:
        return Unreadable(f"{url}/{item.id}", _told(error))
    return item


def search(url: str, wanted: StacSearch, first: str | None, last: str | None) -> Iterator[pystac.Item | Unreadable]:
    """Find the items of a catalogue; what its API leaves open is looked at here.

    Args:
        url: Of ``catalog.json``, on this machine or another, or of an API's landing page.
        wanted: Collections, area, cloud.
        first: ISO date, in UTC, of the earliest observations; None for whatever there is.
        last: The same of the latest.

    Yields:
        Items, and what could not be read among those that may be some.

    Raises:
        CatalogueError: When there is no such catalogue, or it does not answer; or the area cannot be read.
    """
    area = None if wanted.area is None else _area(wanted.area)
    io = StacApiIO(timeout=_TIMEOUT_S, max_retries=_RETRIES)
    try:
        root = io.read_json(url)
        links = [link for link in root.get("links", []) if link.get("rel") == "search"]
        for link in links:
            _require_near(pystac.utils.make_absolute_href(str(link.get("href")), url), url)
        if root.get("type") not in ("Catalog", "Collection"):
            raise ValueError(f"a document of type {root.get('type')}, and not Catalog")
    except _WRONG as error:
        raise CatalogueError(
            f"{url}: no STAC catalogue can be read there ({_told(error)}). Give the address of catalog.json, or of an "
            "API's first page"
        ) from error
    found = (
        _ask(url, links, wanted=wanted, area=area, days=(first, last), io=io) if links else _walk(url, root, wanted, io)
    )
    for item in found:
        if isinstance(item, Unreadable):
            yield item
            continue
        try:
            fits = _fits(item, wanted, area, (first, last))
        except _WRONG as error:
            yield Unreadable(item.id, _told(error))
            continue
        if fits:
            yield item


def item_date(item: pystac.Item) -> str | None:
    """Return the ISO date, in UTC, of an item's observation, or of its beginning."""
    when = item.datetime or item.common_metadata.start_datetime
    return None if when is None else _in_utc(when).date().isoformat()


def cloud_cover(item: pystac.Item) -> float | None:
    """Return an item's cloud cover in percent."""
    cover = item.properties.get("eo:cloud_cover")
    return float(cover) if isinstance(cover, int | float) else None


def stated_bands(item: pystac.Item, key: str) -> tuple[Stated, ...]:
    """Return what an item says of the bands of an asset (``raster:bands``, or ``bands`` of STAC 1.1); nothing if so.

    An offset that is applied to the pixels already, as Earth Search says of Sentinel-2, is none.

    Raises:
        SceneError: When what it says are no numbers, or a scale is 0.
    """
    fields = item.assets[key].extra_fields
    bands = fields.get("raster:bands") or [
        {name.removeprefix("raster:"): value for name, value in {**fields, **band}.items()}
        for band in fields.get("bands") or ([{}] if _TOLD_OF_BANDS & fields.keys() else [])
    ]
    is_applied = any(item.properties.get(name) is True for name in _APPLIED)
    try:
        found = [
            Stated(
                _number(band.get("scale")),
                None if is_applied else _number(band.get("offset")),
                _number(band.get("nodata")),
            )
            for band in bands
        ]
    except (TypeError, ValueError, AttributeError) as error:
        raise SceneError(f"{item.id}: asset '{key}': raster:bands says what is no number ({error})") from error
    if any(one.scale == 0 for one in found):
        raise SceneError(f"{item.id}: asset '{key}': raster:bands says a scale of 0, by which all values are alike")
    return tuple(found) if any(one != Stated() for one in found) else ()


def _number(value: float | str | None) -> float | None:
    """Return a number as JSON has it; ``nan`` and ``inf`` are strings there, and mask themselves."""
    number = None if value is None else float(value)
    return number if number is not None and math.isfinite(number) else None


def last_change(item: pystac.Item) -> str:
    """Return when an item was updated, else created, in UTC; '' where it does not tell."""
    when = item.common_metadata.updated or item.common_metadata.created
    return "" if when is None else _in_utc(when).isoformat()


def _in_utc(when: datetime) -> datetime:
    # A time without a zone is none of this machine's.
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def _ask(
    url: str,
    links: list[dict[str, Any]],
    wanted: StacSearch,
    area: BaseGeometry | None,
    days: tuple[str | None, str | None],
    io: StacApiIO,
) -> Iterator[pystac.Item | Unreadable]:
    post = next((link for link in links if link.get("method") == "POST"), None)
    told: set[tuple[str | None, str | None]] = set()
    # Not every server knows a box whose west lies beyond its east: over the antimeridian it is asked twice.
    for box in [None] if area is None else boxes_of(area):
        asked = ItemSearch(
            (post or links[0])["href"],
            method="POST" if post else "GET",
            collections=list(wanted.collections) or None,
            bbox=box,
            datetime=None if days[0] is None else f"{days[0]}T00:00:00Z/{days[1]}T23:59:59Z",
            limit=_PAGE,
            stac_io=io,
        )
        try:
            for facts in asked.items_as_dicts():
                key = facts.get("collection"), facts.get("id")
                if key not in told or None in key:
                    yield _item(facts, url)
                told.add(key)
        except _WRONG as error:
            raise CatalogueError(
                f"{url}: the catalogue's search does not answer ({_told(error)}). Try again later"
            ) from error


def _item(facts: dict[str, Any], url: str) -> pystac.Item | Unreadable:
    try:
        return pystac.Item.from_dict(facts)
    except _WRONG as error:
        return Unreadable(f"{url}/{facts.get('id', 'item')}", _told(error))


def _walk(url: str, root: dict[str, Any], wanted: StacSearch, io: StacApiIO) -> Iterator[pystac.Item | Unreadable]:
    """Follow the links of files, each document once."""
    seen: set[str] = set()
    waiting: list[tuple[str, dict[str, Any] | None]] = [(url, root)]
    while waiting:
        href, facts = waiting.pop(0)
        if href in seen:
            continue
        seen.add(href)
        try:
            if facts is None:
                _require_near(href, url)
                facts = io.read_json(href)
            read = pystac.read_dict(facts, href=href, stac_io=io)
            if isinstance(read, pystac.Item):
                yield read
            elif isinstance(read, pystac.Catalog) and _is_wanted(read, wanted):
                waiting += [(_absolute(link, href), None) for link in read.links if link.rel in ("child", "item")]
        except _WRONG as error:
            yield Unreadable(href, _told(error))


def _require_near(href: str, url: str) -> None:
    """Refuse a document that nobody declared: a catalogue leads neither into nor out of this machine, nor about in it.

    Raises:
        UndeclaredError: When it lies outside the folder of a catalogue on this machine, or not where the catalogue is.
    """
    if is_local(url) and is_local(href):
        path = Path(href)
        if lies_below(path, [Path(url).parent]) and (path.is_file() or not path.exists()):
            return
        raise UndeclaredError(
            f"{href}: no file below the catalogue's folder. Put it there, or allow its folder in {FOLDERS}"
        )
    if not is_local(url) and urlsplit(href).scheme in ("http", "https"):
        return
    if not is_allowed_remote(href):
        raise UndeclaredError(f"{href}: not where the catalogue is, and nobody declared it. Allow it in {REMOTE}")


def _absolute(link: pystac.Link, href: str) -> str:
    return pystac.utils.make_absolute_href(link.href, href)


def _is_wanted(catalogue: pystac.Catalog, wanted: StacSearch) -> bool:
    is_collection = isinstance(catalogue, pystac.Collection)
    return not (is_collection and wanted.collections) or catalogue.id in wanted.collections


def _fits(
    item: pystac.Item, wanted: StacSearch, area: BaseGeometry | None, days: tuple[str | None, str | None]
) -> bool:
    date, cover = item_date(item), cloud_cover(item)
    if date is None or not (days[0] or date) <= date <= (days[1] or date):
        return False
    # What is no time or no place shall be found out here, where it costs this item alone.
    last_change(item)
    ground = ground_of(item)
    if cover is not None and cover > wanted.max_cloud:
        return False
    if wanted.collections and item.collection_id is not None and item.collection_id not in wanted.collections:
        return False
    return area is None or ground.intersects(area)


def ground_of(item: pystac.Item) -> BaseGeometry:
    """Return what an item covers, in degrees, cut at the antimeridian; nothing where it does not say."""
    if item.geometry is not None:
        footprint = np.array([shapely.from_geojson(json.dumps(item.geometry))], object)
        ground: BaseGeometry = shapely.make_valid(cut(footprint)[0])
        return ground
    if not item.bbox:
        return shapely.Polygon()
    # With heights there are six numbers.
    half = len(item.bbox) // 2
    return box_shape(item.bbox[0], item.bbox[1], item.bbox[half], item.bbox[half + 1])


def _area(area: tuple[float, float, float, float] | str) -> BaseGeometry:
    if isinstance(area, tuple):
        return box_shape(*area)
    try:
        table = read_vectors(area)
    except SwatheError as error:
        raise CatalogueError(f"nightly.stac.area: {error}") from error
    if table.crs_wkt is None:
        raise CatalogueError(f"nightly.stac.area: {area}: names no CRS. Write the outlines as GeoJSON or GeoPackage")
    degrees = CRS.from_user_input("OGC:CRS84").to_wkt()
    outlines = cut(reprojected(shapely.force_2d(table.geometries), table.crs_wkt, degrees, beside=0.0))
    return shapely.union_all(shapely.make_valid(outlines))


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:300]}"
