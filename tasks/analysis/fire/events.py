"""The fires of an OUT folder over nights: events of every site, published, and what is to be told of them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.analysis.fire.event_files import EVENTS, write_events
from tasks.analysis.fire.growth_file import write_growth
from tasks.analysis.fire.rules import all_readings
from tasks.analysis.fire.sites import (
    Folded,
    Product,
    SiteEvents,
    has_product,
    observation_of,
    observed_pixels,
    products_of,
)
from tasks.answers.fire.alerts import (
    Alert,
    crossings,
    key_of,
    late_readings,
)
from tasks.answers.fire.events import History, Rules, carry_ids, fold
from tasks.answers.fire.geodesy import Earth, reprojected
from tasks.inputs.naming import FIRES
from tasks.intake.request import digest
from tasks.jobs.fire import AlertRules, FireAnalysis
from tasks.out.fire_ledger import FireLedger
from tasks.out.folder import OutFolder, site_folder
from tasks.out.sightings import Sighting
from tasks.products.publish import is_published, publish, read_published
from tasks.scenes.vectors import read_vectors

_ASSETS = "asset_km"
_RULES = ("new_fire_ha", "growth_ha_per_day", "high_severity_ha", _ASSETS)


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


def fold_fires(
    out: OutFolder, settings: FireAnalysis, sightings: Sequence[Sighting], now: str, today: str | None = None
) -> Followed:
    """Fold the published scenes of every site whose events are not up to date, and decide what is to be told.

    Everything is computed anew from the products, so that a scene that comes late or again corrects what follows from
    it, and one that an interrupted run published is not forgotten. Run again, it changes nothing and tells nothing.

    Args:
        out: Where the products are; ``fires/<site>`` in it gets the events.
        settings: Of the job.
        sightings: The scenes of this run that have a product.
        now: ISO 8601, in UTC.
        today: ISO date from which is counted how late a site is; that of ``now`` where left out.

    Raises:
        ProductError: When what was published of a site is damaged.
    """
    ledger = FireLedger(out.ledger)
    ledger.enter(sightings)
    published = _published(out)
    sites = sorted({*ledger.sites(), *published.values()})
    behind = {one.site for one in sightings} | {site for site in sites if _is_behind(out, settings, ledger, site)}
    folded = [_fold_site(out, settings, site) for site in sorted(behind)]
    readings, problems = all_readings(folded, settings)
    rules = settings.alerts or AlertRules()
    readings += late_readings(_latest(out, ledger), rules, today or now[:10])
    told = [rule for rule in _RULES if not (problems and rule == _ASSETS)]
    prefixes = [key_of(rule, site, "") for rule in told for site in sorted(behind)]
    alerts = crossings(readings, ledger.alert_states([*prefixes, "late_days|"]))
    # Decided first: a run that dies between the two leaves sites behind, which the next one folds again.
    ledger.decide(alerts, now)
    for one in folded:
        _publish(out, one)
    _unpublish(out, [name for name, site in published.items() if name != site_folder(site)])
    return Followed(tuple(one.events for one in folded), tuple(alerts), problems)


def _fold_site(out: OutFolder, settings: FireAnalysis, site: str) -> Folded:
    products = products_of(out, FireLedger(out.ledger).sightings(site))
    facts = _facts(out, settings, FireLedger(out.ledger).sightings(site))
    if not products:
        return Folded(SiteEvents(site, None, None, None), (), facts)
    # The newest scene's, whose grid the growth layer lies on; everything is laid beside it.
    crs_wkt, beside = products[-1].crs_wkt, observed_pixels(products[-1])[1].centre_x
    earth = Earth(crs_wkt)
    rules = Rules(settings.same_event_days, settings.join_m)
    folded = fold([observation_of(product, crs_wkt, beside) for product in products], earth, rules)
    folder = OutFolder(out.root / FIRES).link(site_folder(site))
    history = carry_ids(folded, _earlier(folder, crs_wkt, beside))
    facts = {"latest": history.latest, **facts}
    return Folded(SiteEvents(site, history, crs_wkt, folder), tuple(products), facts)


def _facts(out: OutFolder, settings: FireAnalysis, sightings: Sequence[Sighting]) -> dict[str, Any]:
    """Return what the events of a site are made from."""
    return {
        "same_event_days": settings.same_event_days,
        "join_m": settings.join_m,
        "min_area_ha": settings.min_area_ha,
        "scenes": [
            [one.scene, one.date, out.link(one.scene).resolve().name] for one in sightings if has_product(out, one)
        ],
    }


def _latest(out: OutFolder, ledger: FireLedger) -> dict[str, str]:
    """Return the date of the newest observation by site; one whose product never arrived is none."""
    found = {site: [one.date for one in ledger.sightings(site) if has_product(out, one)] for site in ledger.sites()}
    return {site: max(dates) for site, dates in found.items() if dates}


def _is_behind(out: OutFolder, settings: FireAnalysis, ledger: FireLedger, site: str) -> bool:
    path = out.root / FIRES / site_folder(site) / "events.json"
    known = read_published(path) if path.is_file() else {}
    return any(known.get(name) != fact for name, fact in _facts(out, settings, ledger.sightings(site)).items())


def _published(out: OutFolder) -> dict[str, str]:
    """Return the site by the name of its folder."""
    found = sorted((out.root / FIRES).glob("*/events.json"))
    return {path.parent.name: read_published(path, "site")["site"] for path in found}


def _publish(out: OutFolder, folded: Folded) -> None:
    site, history = folded.events.site, folded.events.history
    sites, name = OutFolder(out.root / FIRES), site_folder(site)
    if history is None:
        _unpublish(out, [name])
        return
    key = digest({"site": site, "facts": folded.facts, "ids": [event.id for event in history.events]})
    if not is_published(sites, name, key):
        work = sites.scratch / "work" / name
        publish(sites, name, key, _written(work, site, history=history, newest=folded.products[-1], facts=folded.facts))


def _unpublish(out: OutFolder, names: Sequence[str]) -> None:
    """Take away the links of sites that no scene shows any more; what they pointed at stays in ``.products``."""
    for name in names:
        OutFolder(out.root / FIRES).link(name).unlink(missing_ok=True)


def _written(folder: Path, site: str, history: History, newest: Product, facts: Mapping[str, Any]) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_events(folder, site, history=history, crs_wkt=newest.crs_wkt, facts=facts)
    observed, grid = observed_pixels(newest)
    write_growth(history.steps, observed, folder / "growth.tif", grid)
    return folder


def _earlier(folder: Path, crs_wkt: str, beside: float) -> dict[str, Any]:
    path = folder / "events.gpkg"
    if not path.is_file():
        return {}
    table = read_vectors(path, EVENTS)
    geometries = reprojected(table.geometries, table.crs_wkt or crs_wkt, crs_wkt, beside)
    return dict(zip(table.columns["id"], geometries, strict=True))
