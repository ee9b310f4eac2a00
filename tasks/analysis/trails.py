"""What is followed in an OUT folder, for the page of a batch: fires and alerts, patients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.inputs.naming import FIRES, PATIENTS
from tasks.jobs.fire import FireAnalysis
from tasks.jobs.tumour import TumourAnalysis
from tasks.out.fire_ledger import FireLedger
from tasks.out.folder import OutFolder
from tasks.products.publish import read_published
from tasks.reports.page_figures import number
from tasks.reports.trail import Trail

_NONE = "\u2013"
_MOST_ROWS = 200


def trails_of(out: OutFolder, analysis: object) -> tuple[Trail, ...]:
    """Return what is followed, from what is published; nothing where nothing is.

    Args:
        out: Where the products are.
        analysis: What the job asks.

    Raises:
        ProductError: When what is published is damaged.
    """
    if isinstance(analysis, FireAnalysis):
        return tuple(trail for trail in (_fires(out), _alerts(out)) if trail.rows)
    if isinstance(analysis, TumourAnalysis):
        return tuple(trail for trail in (_patients(out),) if trail.rows)
    return ()


def _fires(out: OutFolder) -> Trail:
    found = [
        (path.parent.name, read_published(path, "site", "scenes", "events"))
        for path in sorted((out.root / FIRES).glob("*/events.json"))
    ]
    found.sort(key=lambda item: str(item[1].get("latest")), reverse=True)
    shown = found[:_MOST_ROWS]
    header = ("Site", "Scenes", "Newest", "Fires", "Area (ha)", "Growth at the newest (ha)", "By the day (ha)")
    note = "Layers of events, growth and detections, and the raster of dates, lie in the folder of the site."
    return Trail(
        "Fires over nights",
        header,
        tuple(_site_row(events) for _, events in shown),
        tuple(f"{FIRES}/{name}/" for name, _ in shown),
        note + _left(len(found)),
    )


def _site_row(found: Mapping[str, Any]) -> tuple[str, ...]:
    events = [event for event in found["events"] if event["merged_into"] is None]
    growing = [event for event in events if event["last_detection"] == found.get("latest")]
    return (
        *(str(found["site"]), str(len(found["scenes"])), str(found.get("latest") or _NONE), str(len(events))),
        number(sum(event["area_ha"] for event in events)),
        *(_sum([event[name] for event in growing]) for name in ("growth_area_ha", "growth_ha_per_day")),
    )


def _sum(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return number(sum(known)) if known else _NONE


def _alerts(out: OutFolder) -> Trail:
    found = FireLedger(out.ledger).standing() if out.ledger.is_file() else []
    rows = tuple((payload["text"], payload["site"], decided[:10]) for decided, payload in found[:_MOST_ROWS])
    note = "An alert stands until its value has passed the level at which it is over." + _left(len(found))
    return Trail("Alerts that stand", ("Alert", "Site", "Raised"), rows, ("",) * len(rows), note)


def _patients(out: OutFolder) -> Trail:
    # Here, because jobs of rasters do not need what it brings.
    from tasks.analysis.tumour.patients import published_patients

    found = list(published_patients(out).items())
    found.sort(key=lambda item: str(item[1]["headline"]["last_date"]), reverse=True)
    shown = found[:_MOST_ROWS]
    header = ("Patient", "Dates", "First", "Newest", "Volume (mL)", "RECIST sum (mm)", "RECIST 1.1", "RANO")
    note = "Categories are proposed from the numbers of the masks, for a reader to confirm or to reject."
    return Trail(
        "Patients over dates",
        header,
        tuple(_patient_row(summary) for _, summary in shown),
        tuple(f"{PATIENTS}/{name}/report.html" for name, _ in shown),
        note + _left(len(found)),
    )


def _patient_row(summary: Mapping[str, Any]) -> tuple[str, ...]:
    headline = summary["headline"]
    total = headline.get("recist_sum_mm")
    return (
        *(str(summary["patient"]), str(headline["dates"]), headline["first_date"], headline["last_date"]),
        *(number(headline["volume_ml"]), _NONE if total is None else number(total)),
        *(headline["recist_proposed"], headline["rano_proposed"]),
    )


def _left(found: int) -> str:
    return f" {found - _MOST_ROWS} more are not shown." if found > _MOST_ROWS else ""
