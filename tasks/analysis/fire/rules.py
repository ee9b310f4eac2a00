"""What the rules of a job read of folded fires."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tasks.analysis.fire.growth_file import is_observed
from tasks.analysis.fire.sites import Folded, SiteEvents, observed_pixels
from tasks.answers.fire.alerts import Reading, asset_distances_km, asset_readings, fire_readings
from tasks.answers.fire.detections import severity_keys
from tasks.answers.fire.events import History
from tasks.answers.fire.geodesy import Earth, reprojected
from tasks.answers.fire.severity import table_of
from tasks.errors import PolygonError, UndeclaredError
from tasks.jobs.fire import AlertRules, FireAnalysis
from tasks.scenes.vectors import read_vectors


def all_readings(folded: Sequence[Folded], settings: FireAnalysis) -> tuple[list[Reading], tuple[str, ...]]:
    """Return what the rules on fires read, and why one could not: a file that is broken silences its own rule only."""
    rules = settings.alerts or AlertRules()
    readings = [reading for one in folded for reading in _readings(one, settings, rules)]
    try:
        return readings + [reading for one in folded for reading in _asset_readings(one.events, rules)], ()
    except (PolygonError, UndeclaredError) as error:
        return readings, (f"alerts on assets are not decided: {error}",)


def _readings(folded: Folded, settings: FireAnalysis, rules: AlertRules) -> list[Reading]:
    history = folded.events.history
    if history is None:
        return []
    table = table_of(settings)
    names = [entry.name for entry in table.classes]
    columns = severity_keys(table)
    high = tuple(columns[name] for name in names[names.index(table.high) :])
    asks = rules.growth_ha_per_day is not None or rules.high_severity_ha is not None
    unobserved = _unobserved(folded, history) if asks else frozenset()
    return fire_readings(folded.events.site, history, rules=rules, high_columns=high, unobserved=unobserved)


def _asset_readings(one: SiteEvents, rules: AlertRules) -> list[Reading]:
    if one.history is None or one.crs_wkt is None or rules.asset_km is None or rules.assets is None:
        return []
    reach = max(rules.asset_km.at, rules.asset_km.clear or 0.0)
    assets = _assets(rules.assets, one.crs_wkt)
    distances = asset_distances_km(one.history, assets, Earth(one.crs_wkt), reach)
    return asset_readings(one.site, distances, rules.asset_km)


def _assets(path: str, crs_wkt: str) -> dict[str, Any]:
    table = read_vectors(path)
    if table.crs_wkt is None:
        raise PolygonError(f"{path}: names no CRS. Write the file of the assets with one")
    names = table.columns.get("name", [f"asset {number}" for number in range(1, len(table) + 1)])
    # Distances are taken on a plane round each fire, wherever longitudes begin.
    geometries = reprojected(table.geometries, table.crs_wkt, crs_wkt, beside=0.0)
    return {str(name): geometry for name, geometry in zip(names, geometries, strict=True) if geometry is not None}


def _unobserved(folded: Folded, history: History) -> frozenset[str]:
    """Return the events whose ground no scene of the newest date observed as a whole."""
    left = {event.id: event.geometry for event in history.events if event.merged_into is None}
    for product in folded.products:
        if product.sighting.date != history.latest or not left:
            continue
        observed, grid = observed_pixels(product)
        own = np.empty(len(left), dtype=object)
        own[:] = list(left.values())
        ground = reprojected(own, folded.events.crs_wkt or product.crs_wkt, product.crs_wkt, grid.centre_x)
        seen = [name for name, one in zip(left, ground, strict=True) if is_observed(one, observed, grid)]
        left = {name: geometry for name, geometry in left.items() if name not in seen}
    return frozenset(left)
