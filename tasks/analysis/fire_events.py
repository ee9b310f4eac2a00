"""The fires of an OUT folder over nights: events of every site, published, and what is to be told of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from tasks.answers.fire.alerts import (
    Alert,
    Reading,
    asset_distances_km,
    asset_readings,
    crossings,
    fire_readings,
    key_of,
    late_readings,
)
from tasks.answers.fire.detections import severity_keys
from tasks.answers.fire.events import History, Observation, Rules, Seen, carry_ids, fold
from tasks.answers.fire.geodesy import Earth, reprojected
from tasks.answers.fire.settings import AlertRules, FireAnalysis
from tasks.answers.fire.severity import table_of
from tasks.box import Box
from tasks.errors import PolygonError
from tasks.fire_ledger import FireLedger
from tasks.outfolder import OutFolder
from tasks.products.fire_events import EVENTS, write_events
from tasks.products.growth import is_observed, write_growth
from tasks.products.publish import is_published, publish
from tasks.products.vectors import VectorTable, read_vectors
from tasks.request import digest
from tasks.scenes.mask_raster import MaskLayer
from tasks.scenes.naming import FIRES, site_folder
from tasks.scenes.raster_gdal import read_header
from tasks.scenes.raster_grid import RasterGrid
from tasks.sightings import Sighting

_ASSETS = "asset_km"
_RULES = ("new_fire_ha", "growth_ha_per_day", "high_severity_ha", _ASSETS)


@dataclass(frozen=True)
class SiteEvents:
    """The events of one site.

    Attributes:
        site: Its name.
        history: Folded from all published scenes of the site; None where no scene has a CRS.
        crs_wkt: Of the history.
        folder: Where they are published below ``OUT/fires``; None where there is nothing to publish.
    """

    site: str
    history: History | None
    crs_wkt: str | None
    folder: Path | None


@dataclass(frozen=True)
class Followed:
    """What came of following the fires of an OUT folder.

    Attributes:
        sites: Those that were folded.
        alerts: Entered into the ledger.
        problems: Rules that could not be read, and why; what they told of stands as it did.
    """

    sites: tuple[SiteEvents, ...]
    alerts: tuple[Alert, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _Product:
    """A published scene of a site."""

    sighting: Sighting
    folder: Path
    fires: VectorTable
    crs_wkt: str


@dataclass(frozen=True)
class _Folded:
    """A site with its events, not yet published."""

    events: SiteEvents
    products: tuple[_Product, ...]
    facts: Mapping[str, Any]


def fold_fires(out: OutFolder, settings: FireAnalysis, sightings: Sequence[Sighting], now: str) -> Followed:
    """Fold the published scenes of every site whose events are not up to date, and decide what is to be told.

    Everything is computed anew from the products, so that a scene that comes late or again corrects what follows from
    it, and one that an interrupted run published is not forgotten. Run again, it changes nothing and tells nothing.

    Args:
        out: Where the products are; ``fires/<site>`` in it gets the events.
        settings: Of the job.
        sightings: The scenes of this run that have a product.
        now: ISO 8601, in UTC.
    """
    ledger = FireLedger(out.ledger)
    ledger.enter(sightings)
    published = _published(out)
    sites = sorted({*ledger.sites(), *published.values()})
    behind = {one.site for one in sightings} | {site for site in sites if _is_behind(out, settings, ledger, site)}
    folded = [_fold_site(out, settings, site) for site in sorted(behind)]
    readings, problems = _all_readings(folded, settings)
    rules = settings.alerts or AlertRules()
    readings += late_readings(ledger.latest(), rules, now[:10])
    told = [rule for rule in _RULES if not (problems and rule == _ASSETS)]
    prefixes = [key_of(rule, site, "") for rule in told for site in sorted(behind)]
    alerts = crossings(readings, ledger.alert_states([*prefixes, "late_days|"]))
    # Decided first: a run that dies between the two leaves sites behind, which the next one folds again.
    ledger.decide(alerts, now)
    for one in folded:
        _publish(out, one)
    _unpublish(out, [name for name, site in published.items() if name != site_folder(site)])
    return Followed(tuple(one.events for one in folded), tuple(alerts), problems)


def _fold_site(out: OutFolder, settings: FireAnalysis, site: str) -> _Folded:
    products = _products(out, FireLedger(out.ledger).sightings(site))
    facts = _facts(out, settings, FireLedger(out.ledger).sightings(site))
    if not products:
        return _Folded(SiteEvents(site, None, None, None), (), facts)
    # The newest scene's, whose grid the growth layer lies on.
    crs_wkt = products[-1].crs_wkt
    earth = Earth(crs_wkt)
    rules = Rules(settings.same_event_days, settings.join_m)
    folded = fold([_observation(product, crs_wkt) for product in products], earth, rules)
    folder = OutFolder(out.root / FIRES).link(site_folder(site))
    history = carry_ids(folded, _earlier(folder, crs_wkt))
    facts = {"latest": history.latest, **facts}
    return _Folded(SiteEvents(site, history, crs_wkt, folder), tuple(products), facts)


def _facts(out: OutFolder, settings: FireAnalysis, sightings: Sequence[Sighting]) -> dict[str, Any]:
    """Return what the events of a site are made from."""
    return {
        "same_event_days": settings.same_event_days,
        "join_m": settings.join_m,
        "min_area_ha": settings.min_area_ha,
        "scenes": [[one.scene, one.date, out.link(one.scene).resolve().name] for one in sightings if _has(out, one)],
    }


def _has(out: OutFolder, sighting: Sighting) -> bool:
    link = out.link(sighting.scene)
    return (link / "objects.parquet").is_file() and (link / "mask.tif").is_file()


def _is_behind(out: OutFolder, settings: FireAnalysis, ledger: FireLedger, site: str) -> bool:
    path = out.root / FIRES / site_folder(site) / "events.json"
    known = json.loads(path.read_text()) if path.is_file() else {}
    return any(known.get(name) != fact for name, fact in _facts(out, settings, ledger.sightings(site)).items())


def _published(out: OutFolder) -> dict[str, str]:
    """Return the site by the name of its folder."""
    found = sorted((out.root / FIRES).glob("*/events.json"))
    return {path.parent.name: json.loads(path.read_text())["site"] for path in found}


def _publish(out: OutFolder, folded: _Folded) -> None:
    site, history = folded.events.site, folded.events.history
    sites, name = OutFolder(out.root / FIRES), site_folder(site)
    if history is None:
        _unpublish(out, [name])
        return
    key = digest({"site": site, "facts": folded.facts, "ids": [event.id for event in history.events]})
    if not is_published(sites, name, key):
        work = sites.scratch / "work" / name
        publish(sites, name, key, _written(work, site, history, folded.products[-1], folded.facts))


def _unpublish(out: OutFolder, names: Sequence[str]) -> None:
    """Take away the links of sites that no scene shows any more; what they pointed at stays in ``.products``."""
    for name in names:
        OutFolder(out.root / FIRES).link(name).unlink(missing_ok=True)


def _written(folder: Path, site: str, history: History, newest: _Product, facts: Mapping[str, Any]) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_events(folder, site, history, newest.crs_wkt, facts)
    observed, grid = _observed(newest)
    write_growth(history.steps, observed, folder / "growth.tif", grid)
    return folder


def _observed(product: _Product) -> tuple[Callable[[Box], NDArray[np.bool_]], RasterGrid]:
    """Return what reads which pixels of a window a scene observed, and its grid."""
    header = read_header(str(product.folder / "mask.tif"))
    mask = MaskLayer(header.path, header.nodata[0], header.dtypes[0])

    def read(box: Box) -> NDArray[np.bool_]:
        labels = mask(box)
        seen: NDArray[np.bool_] = labels < np.iinfo(labels.dtype).max
        return seen

    return read, header.grid


def _unobserved(folded: _Folded, history: History) -> frozenset[str]:
    """Return the events whose ground no scene of the newest date observed as a whole."""
    left = {event.id: event.geometry for event in history.events if event.merged_into is None}
    for product in folded.products:
        if product.sighting.date != history.latest or not left:
            continue
        observed, grid = _observed(product)
        own = np.empty(len(left), dtype=object)
        own[:] = list(left.values())
        ground = reprojected(own, folded.events.crs_wkt or product.crs_wkt, product.crs_wkt)
        seen = [name for name, one in zip(left, ground, strict=True) if is_observed(one, observed, grid)]
        left = {name: geometry for name, geometry in left.items() if name not in seen}
    return frozenset(left)


def _products(out: OutFolder, sightings: Sequence[Sighting]) -> list[_Product]:
    found = []
    for sighting in sightings:
        if not _has(out, sighting):
            continue
        folder = out.link(sighting.scene).resolve()
        fires = read_vectors(folder / "objects.parquet")
        if fires.crs_wkt is not None and _on_the_earth(fires.crs_wkt):
            found.append(_Product(sighting, folder, fires, fires.crs_wkt))
    return found


def _on_the_earth(crs_wkt: str) -> bool:
    crs = CRS.from_wkt(crs_wkt)
    return bool((crs.is_geographic or crs.is_projected) and crs.get_geod() is not None)


def _observation(product: _Product, crs_wkt: str) -> Observation:
    columns = product.fires.columns
    geometries = reprojected(product.fires.geometries, product.crs_wkt, crs_wkt)
    severity = [name for name in columns if name.startswith("severity_") and name.endswith("_ha")]
    fires = tuple(
        Seen(
            id=columns["id"][number],
            geometry=geometry,
            severity_ha={name: columns[name][number] for name in severity if columns[name][number] is not None},
            observed_percent=columns["observed_percent"][number],
            mean_dnbr=columns["mean_dnbr"][number],
            max_dnbr=columns["max_dnbr"][number],
        )
        for number, geometry in enumerate(geometries)
    )
    return Observation(product.sighting.scene, product.sighting.date, fires)


def _earlier(folder: Path, crs_wkt: str) -> dict[str, Any]:
    path = folder / "events.gpkg"
    if not path.is_file():
        return {}
    table = read_vectors(path, EVENTS)
    geometries = reprojected(table.geometries, table.crs_wkt or crs_wkt, crs_wkt)
    return dict(zip(table.columns["id"], geometries, strict=True))


def _all_readings(folded: Sequence[_Folded], settings: FireAnalysis) -> tuple[list[Reading], tuple[str, ...]]:
    """Return what the rules on fires read, and why one could not: a file that is broken silences its own rule only."""
    rules = settings.alerts or AlertRules()
    readings = [reading for one in folded for reading in _readings(one, settings, rules)]
    try:
        return readings + [reading for one in folded for reading in _asset_readings(one.events, rules)], ()
    except PolygonError as error:
        return readings, (f"alerts on assets are not decided: {error}",)


def _readings(folded: _Folded, settings: FireAnalysis, rules: AlertRules) -> list[Reading]:
    history = folded.events.history
    if history is None:
        return []
    table = table_of(settings)
    names = [entry.name for entry in table.classes]
    columns = severity_keys(table)
    high = tuple(columns[name] for name in names[names.index(table.high) :])
    asks = rules.growth_ha_per_day is not None or rules.high_severity_ha is not None
    unobserved = _unobserved(folded, history) if asks else frozenset()
    return fire_readings(folded.events.site, history, rules, high, unobserved)


def _asset_readings(one: SiteEvents, rules: AlertRules) -> list[Reading]:
    if one.history is None or one.crs_wkt is None or rules.asset_km is None or rules.assets is None:
        return []
    reach = max(rules.asset_km.at, rules.asset_km.clear or 0.0)
    distances = asset_distances_km(one.history, _assets(rules.assets, one.crs_wkt), Earth(one.crs_wkt), reach)
    return asset_readings(one.site, distances, rules.asset_km)


def _assets(path: str, crs_wkt: str) -> dict[str, Any]:
    table = read_vectors(path)
    if table.crs_wkt is None:
        raise PolygonError(f"{path}: names no CRS. Write the file of the assets with one")
    names = table.columns.get("name", [f"asset {number}" for number in range(1, len(table) + 1)])
    geometries = reprojected(table.geometries, table.crs_wkt, crs_wkt)
    return {str(name): geometry for name, geometry in zip(names, geometries, strict=True) if geometry is not None}
