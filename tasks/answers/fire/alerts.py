"""What a fire desk is told: rules with two levels, each crossing told once."""

from __future__ import annotations

import uuid
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal
from urllib.parse import unquote

import shapely

from tasks.answers.fire.events import Event, History
from tasks.answers.fire.geodesy import Earth
from tasks.jobs.fire import AlertRules, Level

# Names of all alerts of all jobs come from this one; any number would do, as long as it stays.
_NAMESPACE = uuid.UUID("6f0b1a52-7f0e-4f3b-9d0c-2f6a5f1d3c88")
_METRES_PER_KM = 1000.0


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A value that a rule looks at.

    Attributes:
        key: Of the rule and what it is about: one alert at a time has it.
        rule: Its name in the job.
        site: Where.
        event: Id of the fire; None where the rule is about a site.
        value: In ``unit``; None where it was not observed, which is no crossing in either direction.
        level: When to speak.
        falling: Whether small values are the alarming ones.
        text: What a person reads.
    """

    key: str
    rule: str
    site: str
    event: str | None
    value: float | None
    level: Level
    unit: str
    text: str
    falling: bool = False
    whole: bool = True

    @property
    def is_raised(self) -> bool:
        """Whether the value has reached the level."""
        if self.value is None:
            return False
        return self.value <= self.level.at if self.falling else self.value >= self.level.at

    @property
    def is_over(self) -> bool:
        """Whether the value has gone back behind the level at which an alert ends."""
        if self.value is None or not self.whole:
            return False
        clear = self.level.at if self.level.clear is None else self.level.clear
        return self.value > clear if self.falling else self.value < clear


@dataclass(frozen=True)
class AlertState:
    """What was last told about a key.

    Attributes:
        active: Whether an alert stands.
        count: How often it was raised.
    """

    active: bool
    count: int


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One thing to tell.

    Attributes:
        id: The same for the same crossing, so that it can be told twice and counted once.
        key: Of the rule and what it is about.
        kind: ``raised`` or ``cleared``.
        count: How often this key was raised, this time included.
        payload: Rule, site, event, value, level, unit, text.
    """

    id: uuid.UUID
    key: str
    kind: Literal["raised", "cleared"]
    count: int
    payload: dict[str, Any]


def crossings(readings: Iterable[Reading], states: Mapping[str, AlertState]) -> list[Alert]:
    """Return what is to be told; told again with the states that follow, nothing is.

    Args:
        readings: All that the rules look at now, one per key.
        states: By key, of the same rules and sites; a standing alert whose key is read no more is cleared.
    """
    found = []
    read = {}
    for reading in readings:
        read[reading.key] = reading
        state = states.get(reading.key, AlertState(active=False, count=0))
        if not state.active and reading.is_raised:
            found.append(_alert(reading.key, "raised", state.count + 1, _payload(reading)))
        elif state.active and reading.is_over:
            found.append(_alert(reading.key, "cleared", state.count, _payload(reading)))
    for key, state in states.items():
        if state.active and key not in read:
            found.append(_alert(key, "cleared", state.count, {"text": _gone(key)}))
    return found


def _gone(key: str) -> str:
    _, site, *about = (unquote(part) for part in key.split("|"))
    return f"{site}: {f'fire {about[0]}' if about else 'the site'} is no longer there"


def fire_readings(
    site: str,
    history: History,
    rules: AlertRules,
    high_columns: tuple[str, ...],
    unobserved: Container[str] = (),
) -> list[Reading]:
    """Read everything that the rules on fires look at; merged events are part of another and read with it.

    Args:
        site: Of the history.
        history: Its events.
        rules: Of the job.
        high_columns: Columns of severity that count as high.
        unobserved: Ids of the events whose ground was not wholly observed at the newest date of the site.
    """
    readings: list[Reading] = []
    for event in history.events:
        if event.merged_into is None:
            whole = event.id not in unobserved
            growth = _growth(event, history.latest, whole=whole)
            seen = whole and event.last == history.latest
            readings += _event_readings(
                site, event, growth=growth, rules=rules, high_columns=high_columns, whole=whole, seen=seen
            )
    return readings


def asset_readings(site: str, distances_km: Mapping[tuple[str, str], float], level: Level) -> list[Reading]:
    """Read how far fires are from assets.

    Args:
        site: Of the fires.
        distances_km: By event id and name of the asset.
        level: Of the rule.
    """
    return [
        Reading(
            key=key_of("asset_km", site, event_id, asset),
            rule="asset_km",
            site=site,
            event=event_id,
            value=distance,
            level=level,
            unit="km",
            text=f"{site}: fire {event_id} is {distance:.2f} km from {asset}",
            falling=True,
        )
        for (event_id, asset), distance in distances_km.items()
    ]


def key_of(rule: str, *parts: str) -> str:
    """Return what tells alerts apart: the rule and what it is about, ``|`` between; in a part it is ``%7C``."""
    return "|".join([rule, *(part.replace("%", "%25").replace("|", "%7C") for part in parts)])


def _growth(event: Event, latest: str | None, *, whole: bool) -> float | None:
    if event.last == latest:
        return event.growth.ha_per_day
    # Observed and not burning, it did not grow; below a cloud nobody knows.
    return 0.0 if whole else None


def _event_readings(  # noqa: PLR0913 - what is read, and what was observed of it
    site: str,
    event: Event,
    growth: float | None,
    rules: AlertRules,
    high_columns: tuple[str, ...],
    *,
    whole: bool,
    seen: bool,
) -> list[Reading]:
    high = sum(event.severity_ha.get(name, 0.0) for name in high_columns) if event.severity_ha else None
    values = (
        ("new_fire_ha", rules.new_fire_ha, event.area_ha, "ha", "covers", True),
        ("growth_ha_per_day", rules.growth_ha_per_day, growth, "ha/day", "grows by", whole),
        ("high_severity_ha", rules.high_severity_ha, high, "ha", "burned with high severity on", seen),
    )
    return [
        Reading(
            key=key_of(rule, site, event.id),
            rule=rule,
            site=site,
            event=event.id,
            value=value,
            level=level,
            unit=unit,
            text=f"{site}: fire {event.id} {verb} {value or 0.0:,.1f} {unit}",
            whole=is_whole,
        )
        for rule, level, value, unit, verb, is_whole in values
        if level is not None
    ]


def late_readings(latest: Mapping[str, str], rules: AlertRules, today: str) -> list[Reading]:
    """Read for how many days nothing was seen of each site.

    Args:
        latest: ISO date of the newest observation by site.
        rules: Of the job.
        today: ISO date.
    """
    if rules.late_days is None:
        return []
    now, found = date.fromisoformat(today), []
    for site, when in latest.items():
        days = (now - date.fromisoformat(when)).days
        text = f"{site}: nothing observed for {days} days, since {when}"
        found.append(
            Reading(
                key=key_of("late_days", site),
                rule="late_days",
                site=site,
                event=None,
                value=float(days),
                level=rules.late_days,
                unit="days",
                text=text,
            )
        )
    return found


def asset_distances_km(
    history: History, assets: Mapping[str, Any], earth: Earth, reach_km: float
) -> dict[tuple[str, str], float]:
    """Return the distance of events from assets by event id and name of the asset, as far as ``reach_km``.

    Args:
        history: Merged events are left out.
        assets: Geometry by name, in the CRS of the events.
        earth: Below that CRS.
        reach_km: Distances beyond it are left out.
    """
    found = {}
    for event in history.events:
        if event.merged_into is not None:
            continue
        onto = earth.plane(event.geometry.centroid)
        fire = onto(event.geometry)
        for name, geometry in assets.items():
            distance = float(shapely.distance(fire, onto(geometry))) / _METRES_PER_KM
            if distance <= reach_km:
                found[event.id, name] = round(distance, 6)
    return found


def _payload(reading: Reading) -> dict[str, Any]:
    return {
        "rule": reading.rule,
        "site": reading.site,
        "event": reading.event,
        "value": reading.value,
        "level": reading.level.at,
        "unit": reading.unit,
        "text": reading.text,
    }


def _alert(key: str, kind: Literal["raised", "cleared"], count: int, payload: dict[str, Any]) -> Alert:
    return Alert(
        id=uuid.uuid5(_NAMESPACE, f"{key}|{count}|{kind}"),
        key=key,
        kind=kind,
        count=count,
        payload={"key": key, **payload},
    )
