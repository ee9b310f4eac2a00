"""The events of a site as files: polygons, their growth, and the same as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.answers.fire.events import Event, History, Member
from tasks.answers.fire.growth import Growth
from tasks.products.vectors import write_gpkg, write_parquet
from tasks.scenes.vectors import Column, VectorTable

EVENTS, GROWTH, DETECTIONS = "events", "growth", "detections"
_GROWTH_NUMBERS = ("area_ha", "days", "ha_per_day", "direction_deg", "front_m", "front_max_m", "front_m_per_h")


def write_events(folder: Path, site: str, history: History, crs_wkt: str, facts: Mapping[str, Any]) -> None:
    """Write ``events.gpkg`` (layers ``events``, ``growth``, ``detections``), ``events.parquet`` and ``events.json``.

    Args:
        folder: Not yet published.
        site: Of the history.
        history: What to write.
        crs_wkt: Of its geometries.
        facts: What it was made from, for the JSON file.

    Raises:
        ProductError: When a file cannot be written.
    """
    events = VectorTable(
        name=EVENTS, crs_wkt=crs_wkt, geometries=_geometries(history.events), columns=_event_columns(site, history)
    )
    growth = VectorTable(
        name=GROWTH, crs_wkt=crs_wkt, geometries=_geometries(history.steps), columns=_growth_columns(history.steps)
    )
    detections = _detections(history, crs_wkt)
    write_gpkg(folder / "events.gpkg", events, growth, detections)
    write_parquet(folder / "events.parquet", events)
    rows = [_plain(events.columns, number) for number in range(len(history.events))]
    steps = [_plain(growth.columns, number) for number in range(len(history.steps))]
    members = [_plain(detections.columns, number) for number in range(len(detections))]
    tables = {"events": rows, "growth": steps, "detections": members}
    text = json.dumps({"site": site, **facts, **tables}, indent=2, allow_nan=False)
    (folder / "events.json").write_text(text + "\n")


def status_of(event: Event, latest: str | None) -> str:
    """Say in a word how an event stands at the newest observation of its site."""
    if event.merged_into is not None:
        return "merged"
    if event.last != latest:
        return "not seen"
    if event.first == event.last:
        return "new"
    return "growing" if event.growth.area_ha > 0 else "unchanged"


def _detections(history: History, crs_wkt: str) -> VectorTable:
    """Return which event each fire of a scene belongs to; what was merged belongs to what it was merged into."""
    pairs = [(event, member) for event in history.events if event.merged_into is None for member in event.members]
    pairs.sort(key=lambda pair: (pair[1].date, pair[1].scene, pair[1].id))
    columns: dict[str, Column] = {
        "id": [member.id for _, member in pairs],
        "scene": [member.scene for _, member in pairs],
        "date": [member.date for _, member in pairs],
        "event": [event.id for event, _ in pairs],
    }
    return VectorTable(
        name=DETECTIONS, crs_wkt=crs_wkt, geometries=_geometries([member for _, member in pairs]), columns=columns
    )


def _geometries(items: Sequence[Event | Growth | Member]) -> NDArray[np.object_]:
    found = np.empty(len(items), dtype=object)
    found[:] = [item.geometry for item in items]
    return found


def _event_columns(site: str, history: History) -> dict[str, Column]:
    events = history.events
    columns: dict[str, Column] = {
        "id": [event.id for event in events],
        "site": [site] * len(events),
        "status": [status_of(event, history.latest) for event in events],
        "merged_into": [event.merged_into for event in events],
        "first_detection": [event.first for event in events],
        "last_detection": [event.last for event in events],
        "detections": np.array([len(event.members) for event in events], np.int64),
        "parts": np.array([len(event.geometry.geoms) for event in events], np.int64),
        "area_ha": np.array([event.area_ha for event in events], np.float64),
        "perimeter_km": np.array([event.perimeter_km for event in events], np.float64),
        "observed_percent": np.array([event.observed_percent for event in events], np.float64),
        "mean_dnbr": _floats([event.mean_dnbr for event in events]),
        "max_dnbr": _floats([event.max_dnbr for event in events]),
        "scenes": [";".join(event.scenes) for event in events],
    }
    for name in dict.fromkeys(name for event in events for name in event.severity_ha):
        columns[name] = _floats([event.severity_ha.get(name) for event in events])
    growth = [event.growth for event in events]
    for name in _GROWTH_NUMBERS:
        columns[f"growth_{name}"] = _floats([_known(step, name) for step in growth])
    columns["growth_reason"] = [step.reason for step in growth]
    return columns


def _growth_columns(steps: Sequence[Growth]) -> dict[str, Column]:
    columns: dict[str, Column] = {
        "event": [step.event for step in steps],
        "date": [step.date for step in steps],
        "kind": ["first detection" if step.days is None else "growth" for step in steps],
    }
    for name in _GROWTH_NUMBERS:
        columns[name] = _floats([getattr(step, name) for step in steps])
    columns["reason"] = [step.reason for step in steps]
    return columns


def _known(step: Growth, name: str) -> float | None:
    # The ground of a first detection is no growth.
    value: float | None = None if step.days is None else getattr(step, name)
    return value


def _floats(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([math.nan if value is None else value for value in values], np.float64)


def _plain(columns: Mapping[str, Column], number: int) -> dict[str, Any]:
    row = {name: column[number] for name, column in columns.items()}
    values = {name: value.item() if isinstance(value, np.generic) else value for name, value in row.items()}
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }
