"""The fires of an OUT folder over nights: events of every site, published, and what is to be told of them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
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
    crossings,
    fire_readings,
    late_readings,
)
from tasks.answers.fire.detections import severity_keys
from tasks.answers.fire.events import History, Observation, Rules, Seen, carry_ids, fold
from tasks.answers.fire.geodesy import Earth, reprojected
from tasks.answers.fire.settings import AlertRules, FireAnalysis
from tasks.answers.fire.severity import table_of
from tasks.box import Box
from tasks.errors import PolygonError
from tasks.fire_ledger import FireLedger, Sighting
from tasks.outfolder import OutFolder
from tasks.products.fire_events import EVENTS, write_events
from tasks.products.growth import write_growth
from tasks.products.publish import is_published, publish
from tasks.products.vectors import VectorTable, read_vectors
from tasks.request import digest
from tasks.scenes.mask_raster import MaskLayer
from tasks.scenes.naming import scene_id
from tasks.scenes.raster_gdal import read_header

FOLDER = "fires"
_RULES = ("new_fire_ha", "growth_ha_per_day", "high_severity_ha", "asset_km")


@dataclass(frozen=True)
class SiteEvents:
    """The events of one site.

    Attributes:
        site: Its name.
        history: Folded from all published scenes of the site; None where no scene has a CRS.
        crs_wkt: Of the history.
        folder: Published under ``OUT/fires``; None where there is nothing to publish.
    """

    site: str
    history: History | None
    crs_wkt: str | None
    folder: Path | None


@dataclass(frozen=True)
class _Product:
    """A published scene of a site."""

    sighting: Sighting
    folder: Path
    fires: VectorTable
    crs_wkt: str


def fold_fires(
    out: OutFolder, settings: FireAnalysis, sightings: Sequence[Sighting], now: str
) -> tuple[list[SiteEvents], list[Alert]]:
    """Fold the published scenes of every site that was looked at, and decide what is to be told.

    Everything is computed anew from the products, so that a scene that comes late or again corrects what follows from
    it. Run again, it changes nothing and tells nothing.

    Args:
        out: Where the products are; ``fires/<site>`` in it gets the events.
        settings: Of the job.
        sightings: The scenes of this run that have a product.
        now: ISO 8601, in UTC.

    Returns:
        The sites of these scenes, and the alerts that were entered into the ledger.

    Raises:
        PolygonError: When the file of the assets cannot be used; the events are published all the same.
    """
    ledger = FireLedger(out.ledger)
    left = ledger.enter(sightings)
    sites = sorted({one.site for one in sightings} | set(left))
    found = [fold_site(out, settings, site) for site in sites]
    rules = settings.alerts or AlertRules()
    readings = [reading for one in found for reading in _readings(one, settings, rules)]
    prefixes = [f"{rule}|{site}|" for rule in _RULES for site in sites]
    readings += late_readings(ledger.latest(), rules, now[:10])
    alerts = crossings(readings, ledger.alert_states([*prefixes, "late_days|"]))
    ledger.decide(alerts, now)
    return found, alerts


def fold_site(out: OutFolder, settings: FireAnalysis, site: str) -> SiteEvents:
    """Fold one site and publish its events under ``OUT/fires/<site>``."""
    products = _products(out, FireLedger(out.ledger).sightings(site))
    if not products:
        return SiteEvents(site, None, None, None)
    # The newest scene's, whose grid the growth layer lies on.
    crs_wkt = products[-1].crs_wkt
    earth = Earth(crs_wkt)
    rules = Rules(settings.same_event_days, settings.join_m)
    folded = fold([_observation(product, crs_wkt) for product in products], earth, rules)
    sites, name = OutFolder(out.root / FOLDER), scene_id(site)
    history = carry_ids(folded, _earlier(sites.link(name), crs_wkt))
    facts: dict[str, Any] = {
        "latest": history.latest,
        "same_event_days": settings.same_event_days,
        "join_m": settings.join_m,
        "min_area_ha": settings.min_area_ha,
        "scenes": [[one.sighting.scene, one.sighting.date, one.folder.name] for one in products],
    }
    key = digest({"site": site, "facts": facts, "ids": [event.id for event in history.events]})
    if not is_published(sites, name, key):
        publish(sites, name, key, _written(sites.scratch / "work" / name, site, history, products[-1], facts))
    return SiteEvents(site, history, crs_wkt, sites.link(name))


def _written(folder: Path, site: str, history: History, newest: _Product, facts: Mapping[str, Any]) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_events(folder, site, history, newest.crs_wkt, facts)
    header = read_header(str(newest.folder / "mask.tif"))
    mask = MaskLayer(header.path, header.nodata[0], header.dtypes[0])

    def observed(box: Box) -> NDArray[np.bool_]:
        labels = mask(box)
        seen: NDArray[np.bool_] = labels < np.iinfo(labels.dtype).max
        return seen

    write_growth(history.steps, observed, folder / "growth.tif", header.grid)
    return folder


def _products(out: OutFolder, sightings: Sequence[Sighting]) -> list[_Product]:
    found = []
    for sighting in sightings:
        link = out.link(sighting.scene)
        if not (link / "objects.parquet").is_file() or not (link / "mask.tif").is_file():
            continue
        folder = link.resolve()
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


def _readings(one: SiteEvents, settings: FireAnalysis, rules: AlertRules) -> list[Reading]:
    if one.history is None or one.crs_wkt is None:
        return []
    table = table_of(settings)
    names = [entry.name for entry in table.classes]
    columns = severity_keys(table)
    high = tuple(columns[name] for name in names[names.index(table.high) :])
    distances: dict[str, float] = {}
    if rules.asset_km is not None and rules.assets is not None:
        reach = max(rules.asset_km.at, rules.asset_km.clear or 0.0)
        distances = asset_distances_km(one.history, _assets(rules.assets, one.crs_wkt), Earth(one.crs_wkt), reach)
    return fire_readings(one.site, one.history, rules, high, distances)


def _assets(path: str, crs_wkt: str) -> dict[str, Any]:
    table = read_vectors(path)
    if table.crs_wkt is None:
        raise PolygonError(f"{path}: names no CRS. Write the file of the assets with one")
    names = table.columns.get("name", [f"asset {number}" for number in range(1, len(table) + 1)])
    geometries = reprojected(table.geometries, table.crs_wkt, crs_wkt)
    return {str(name): geometry for name, geometry in zip(names, geometries, strict=True) if geometry is not None}
