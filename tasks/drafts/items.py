"""Jobs for items of STAC."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pystac

from tasks.drafts.draft import Draft, Place, job_name
from tasks.drafts.rasters import CLOUDS, MOST_BANDS
from tasks.errors import CatalogueError, JobError
from tasks.inputs.stac import Unreadable, read_items
from tasks.inputs.stac_scenes import site_of_item
from tasks.jobs.nightly import StacSearch

_PICTURES = ("tiff", "jp2", "geotiff", "cog")
_ENDINGS = (".tif", ".tiff", ".jp2", ".vrt")
# What is made of other assets, for eyes.
_SHOWN = {"thumbnail", "overview", "visual", "rendered_preview", "preview", "tilejson", "metadata"}
# Of many assets those that most look for, by the common names of STAC, in this order.
_COMMON = ("blue", "green", "red", "nir", "nir08", "swir16", "swir22")
_MANY = 8
# Properties that may tell sites apart where the usual one is missing, the better first.
_SITES = ("title", "constellation", "platform", "datetime")


def draft_item(url: str) -> Draft:
    """Write a job for an item, or for the first of a document that holds several.

    Args:
        url: Path or address of an item, of a search's answer, or of a catalogue.

    Raises:
        CatalogueError: When there is no item there.
        JobError: When none of its assets is a picture.
    """
    place = url if "://" in url else str(Path(url).absolute())
    # What is asked of a catalogue has to name assets; which ones shall be found out here.
    reason = "it names none"
    for item in read_items(place, StacSearch(assets={"any": "any"})):
        if not isinstance(item, Unreadable):
            return _draft(item)
        reason = item.why
    raise CatalogueError(
        f"{url}: no STAC item can be read there ({reason}). Give an item, a search's answer or a catalogue"
    )


def _draft(item: pystac.Item) -> Draft:
    assets = {key: asset for key, asset in item.assets.items() if _is_picture(key, asset)}
    if not assets:
        raise JobError(
            f"{item.id}: none of its assets is a raster that could be segmented; found {', '.join(item.assets)}"
        )
    places, roles = _bands(assets)
    invalid = [{"band": band, **CLOUDS[band.upper()]} for band in places if band.upper() in CLOUDS]
    spectral = [band for band in places if band.upper() not in CLOUDS]
    left_out = [key for key in assets if key not in roles.values()]
    return Draft(
        name=job_name(item.collection_id or item.id),
        kind="raster",
        about=(f"Looked at: the STAC item {item.id}, {len(assets)} assets that are rasters",),
        bands=places,
        invalid=invalid,
        assets=roles,
        site=None if site_of_item(item, "grid:code") else _site(item),
        model={"name": "otsu"} if len(spectral) == 1 else {"name": "kmeans", "arguments": {"classes": 4}},
        model_remark="By values alone, without training. Others: swathe models",
        remarks=(f"Other assets of the item: {', '.join(left_out)}",) if left_out else (),
    )


def _is_picture(key: str, asset: pystac.Asset) -> bool:
    shown = {key.casefold(), *(role.casefold() for role in asset.roles or ())}
    kind = (asset.media_type or "").casefold()
    return not shown & _SHOWN and (
        any(word in kind for word in _PICTURES)
        or (not kind and asset.href.split("?", 1)[0].casefold().endswith(_ENDINGS))
    )


def _bands(assets: dict[str, pystac.Asset]) -> tuple[dict[str, Place], dict[str, str]]:
    """Return places of bands by name, and assets by role, which are called as the item calls them."""
    taken = list(assets)
    if len(taken) > _MANY:
        common = {name: key for key in reversed(taken) for name in _common_names(assets[key]) if name in _COMMON}
        wanted = [common[name] for name in _COMMON if name in common] or taken[:_MANY]
        taken = [*dict.fromkeys(wanted), *(key for key in taken if key.upper() in CLOUDS)]
    places: dict[str, Place] = {}
    roles: dict[str, str] = {}
    for key in taken:
        role = key.replace("@", "_")
        roles[role] = key
        described = list(_described(assets[key]))
        for number, text in enumerate(described or [""], start=1):
            name = role if len(described) <= 1 else text or f"{role}_{number}"
            places.setdefault(name if name not in places else f"{role}_{number}", Place(number, role))
    return dict(list(places.items())[: MOST_BANDS + 1]), roles


def _described(asset: pystac.Asset) -> Iterator[str]:
    for band in asset.extra_fields.get("eo:bands") or asset.extra_fields.get("bands") or ():
        yield str(band.get("name") or "")


def _common_names(asset: pystac.Asset) -> Iterator[str]:
    for band in asset.extra_fields.get("eo:bands") or asset.extra_fields.get("bands") or ():
        yield str(band.get("common_name") or band.get("eo:common_name") or "")


def _site(item: pystac.Item) -> str:
    told: dict[str, Any] = item.properties
    return next((name for name in _SITES if isinstance(told.get(name), str) and told[name]), "datetime")
