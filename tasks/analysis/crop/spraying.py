"""What of a batch of crop maps has to be sprayed, and is told once per product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.answers.fire.alerts import Alert, Reading, crossings, key_of
from tasks.jobs.fire import Level
from tasks.out.fire_ledger import FireLedger
from tasks.out.folder import OutFolder
from tasks.products.publish import read_published

RULE = "spray"
# One zone, or one field, in which weed outweighs crop.
_LEVEL = Level(at=1)


def decide_spraying(out: OutFolder, scenes: Sequence[str], now: str) -> tuple[Alert, ...]:
    """Decide what is to be told of published crop products, and enter it into the ledger; run again, nothing is new.

    Args:
        out: Where they are published.
        scenes: Their ids.
        now: ISO 8601, in UTC.

    Raises:
        ProductError: When what was published is damaged.
    """
    ledger = FireLedger(out.ledger)
    readings = [reading for scene in scenes if (reading := _reading(out, scene)) is not None]
    told = ledger.alert_states([reading.key for reading in readings])
    alerts = crossings(readings, told)
    ledger.decide(alerts, now)
    return tuple(alerts)


def _reading(out: OutFolder, scene: str) -> Reading | None:
    summary = read_published(out.link(scene) / "summary.json")
    weed: dict[str, Any] | None = summary.get("weed") or summary.get("fields", {}).get("weed")
    if weed is None:
        return None
    what = "fields" if "fields" in weed else "zones"
    count, hectares = int(weed[what][RULE]), weed["spray_ha"]
    area = "" if hectares is None else f" on {hectares:,.1f} ha"
    return Reading(
        # A product that takes the place of another is told of anew.
        key=key_of(RULE, scene, out.link(scene).resolve().name),
        rule=RULE,
        site=scene,
        event=None,
        value=float(count),
        level=_LEVEL,
        unit=what,
        text=f"{scene}: weed outweighs crop in {count} {what}{area}: spray",
    )
