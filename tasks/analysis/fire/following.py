"""Fires over nights: events of every site, and the alerts that stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.analysis.fire.events import fold_fires
from tasks.inputs.input import Input
from tasks.inputs.naming import FIRES
from tasks.intake.request import Request
from tasks.jobs.fire import FireAnalysis
from tasks.out.fire_ledger import FireLedger
from tasks.out.folder import OutFolder
from tasks.out.sightings import sightings_of
from tasks.products.publish import read_published
from tasks.reports.page_figures import number
from tasks.reports.trail import MOST_ROWS, NOTHING, Trail, left_out


def follow(request: Request, settings: FireAnalysis, published: Sequence[Input], now: str) -> Sequence[str]:
    """Fold the published scenes of every site into events, and decide what is to be told."""
    return fold_fires(
        request.out, settings, sightings=sightings_of(request.job, published), now=now, today=request.today
    ).problems


def trails(out: OutFolder) -> tuple[Trail, ...]:
    """Return the sites whose fires are followed, and the alerts that stand."""
    return _fires(out), _alerts(out)


def _fires(out: OutFolder) -> Trail:
    found = [
        (path.parent.name, read_published(path, "site", "scenes", "events"))
        for path in sorted((out.root / FIRES).glob("*/events.json"))
    ]
    found.sort(key=lambda item: str(item[1].get("latest")), reverse=True)
    shown = found[:MOST_ROWS]
    header = ("Site", "Scenes", "Newest", "Fires", "Area (ha)", "Growth at the newest (ha)", "By the day (ha)")
    note = "Layers of events, growth and detections, and the raster of dates, lie in the folder of the site."
    return Trail(
        title="Fires over nights",
        header=header,
        rows=tuple(_site_row(events) for _, events in shown),
        links=tuple(f"{FIRES}/{name}/" for name, _ in shown),
        note=note + left_out(len(found)),
    )


def _site_row(found: Mapping[str, Any]) -> tuple[str, ...]:
    events = [event for event in found["events"] if event["merged_into"] is None]
    growing = [event for event in events if event["last_detection"] == found.get("latest")]
    return (
        *(str(found["site"]), str(len(found["scenes"])), str(found.get("latest") or NOTHING), str(len(events))),
        number(sum(event["area_ha"] for event in events)),
        *(_sum([event[name] for event in growing]) for name in ("growth_area_ha", "growth_ha_per_day")),
    )


def _sum(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return number(sum(known)) if known else NOTHING


def _alerts(out: OutFolder) -> Trail:
    found = FireLedger(out.ledger).standing() if out.ledger.is_file() else []
    rows = tuple((payload["text"], payload["site"], decided[:10]) for decided, payload in found[:MOST_ROWS])
    note = "An alert stands until its value has passed the level at which it is over." + left_out(len(found))
    return Trail(
        title="Alerts that stand", header=("Alert", "Site", "Raised"), rows=rows, links=("",) * len(rows), note=note
    )
