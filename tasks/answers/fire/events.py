"""Fires over nights: a pure fold over the observations of one site in the order of their dates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import groupby
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tasks.answers.fire.geodesy import Earth
from tasks.answers.fire.growth import Before, Growth, as_multipolygon, first_detection, growth_since


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One fire in one observation.

    Attributes:
        id: Of the detection.
        geometry: In the CRS that all observations of the site have been brought to.
        severity_ha: By column name; empty where severity is not known.
        observed_percent: Of its surroundings.
        mean_dnbr: None where it is not known.
        max_dnbr: None where it is not known.
    """

    id: str
    geometry: Any
    severity_ha: Mapping[str, float]
    observed_percent: float
    mean_dnbr: float | None = None
    max_dnbr: float | None = None


@dataclass(frozen=True)
class Observation:
    """What one scene shows of a site.

    Attributes:
        scene: Its id.
        date: ISO 8601.
        fires: Possibly none.
    """

    scene: str
    date: str
    fires: tuple[Seen, ...]


@dataclass(frozen=True)
class Member:
    """A fire of one observation that belongs to an event.

    Attributes:
        id: Of the detection.
        scene: Id of the scene that shows it.
        date: ISO date of that scene.
        geometry: In the CRS of the events.
    """

    id: str
    scene: str
    date: str
    geometry: Any


@dataclass(frozen=True, kw_only=True)
class Event:
    """One fire over all nights.

    Attributes:
        id: That of its first detection, and carried on by overlap.
        first: ISO date of the first detection.
        last: ISO date of the last one.
        geometry: Everything that was ever seen burned of it.
        area_ha: Of ``geometry``.
        perimeter_km: Of its outer rings.
        members: The fires of single observations that belong to it, in the order of dates, scenes and ids.
        severity_ha: By column name, of the observations at ``last``.
        observed_percent: Lowest of the detections at ``last``.
        mean_dnbr: Mean over the detections at ``last``, by their areas; None where one of them has none.
        max_dnbr: Highest of the detections at ``last``; None where one of them has none.
        growth: At ``last``.
        merged_into: Event that it became a part of; None while it is one itself.
    """

    id: str
    first: str
    last: str
    geometry: shapely.MultiPolygon
    area_ha: float
    perimeter_km: float
    members: tuple[Member, ...]
    severity_ha: Mapping[str, float]
    observed_percent: float
    mean_dnbr: float | None
    max_dnbr: float | None
    growth: Growth
    merged_into: str | None = None

    @property
    def scenes(self) -> tuple[str, ...]:
        """In which it was seen, in order."""
        return tuple(dict.fromkeys(member.scene for member in self.members))


@dataclass(frozen=True)
class Rules:
    """What makes two detections one event.

    Attributes:
        same_event_days: Days after the last detection in which it can be seen again.
        join_m: Distance in metres up to which detections belong together.
    """

    same_event_days: int
    join_m: float


@dataclass(frozen=True)
class History:
    """The events of a site, merged ones included, and every step of their growth.

    Attributes:
        events: In the order of their first detections, then of their ids.
        steps: In the order of dates, then of ids.
        latest: ISO date of the newest observation; None without any.
    """

    events: tuple[Event, ...]
    steps: tuple[Growth, ...]
    latest: str | None


def fold(observations: Iterable[Observation], earth: Earth, rules: Rules) -> History:
    """Follow the fires of a site.

    All observations of a date count as one. A detection belongs to the events that it lies within ``join_m`` of and
    that were seen at most ``same_event_days`` before; events that one detection joins are merged into the one that was
    detected first (then the larger, then by id). An event is never split: what falls apart stays one event. The order
    in which observations are given changes nothing.

    Args:
        observations: Of one site, in one CRS.
        earth: Below that CRS.
        rules: What belongs together.
    """
    ordered = sorted(observations, key=lambda one: (one.date, one.scene))
    events: dict[str, Event] = {}
    steps: list[Growth] = []
    for when, group in groupby(ordered, key=lambda one: one.date):
        night = list(group)
        for new in _night(when, night, events=events, earth=earth, rules=rules):
            events |= {event.id: event for event in new}
            steps.append(new[0].growth)
    in_order = tuple(sorted(events.values(), key=lambda event: (event.first, event.id)))
    steps.sort(key=lambda step: (step.date, step.event))
    return History(in_order, tuple(steps), ordered[-1].date if ordered else None)


def _night(
    when: str, night: Sequence[Observation], events: Mapping[str, Event], earth: Earth, rules: Rules
) -> list[list[Event]]:
    """Return the events that were seen, each followed by those that were merged into it."""
    seen = [(one.scene, fire) for one in night for fire in one.fires]
    if not seen:
        return []
    open_events = [event for event in events.values() if _is_open(event, when, rules)]
    everything = [event.geometry for event in open_events] + [fire.geometry for _, fire in seen]
    groups = _groups(everything, len(open_events), earth, rules.join_m)
    found = []
    for members in groups:
        own = [open_events[k] for k in members if k < len(open_events)]
        fires = [seen[k - len(open_events)] for k in members if k >= len(open_events)]
        if fires:
            found.append(_update(when, own, fires, earth))
    return found


def _is_open(event: Event, when: str, rules: Rules) -> bool:
    days = (date.fromisoformat(when) - date.fromisoformat(event.last)).days
    return event.merged_into is None and days <= rules.same_event_days


def _groups(geometries: list[Any], n_events: int, earth: Earth, join_m: float) -> list[NDArray[np.intp]]:
    """Return what belongs together; two events do so only through a detection."""
    onto = earth.plane(shapely.GeometryCollection(geometries).centroid)
    plane = np.array(onto(np.array(geometries, dtype=object)), dtype=object)
    # Half a millimetre: what touches along an edge is apart by the rounding of the projection.
    one, other = shapely.STRtree(plane).query(plane, predicate="dwithin", distance=join_m + 0.0005)
    linked = (one != other) & ((one >= n_events) | (other >= n_events))
    ones = np.ones(int(linked.sum()), np.int8)
    graph = coo_array((ones, (one[linked], other[linked])), shape=(len(geometries),) * 2)
    n, group = connected_components(graph, directed=False)
    return [np.flatnonzero(group == number) for number in range(n)]


def _update(when: str, own: list[Event], fires: list[tuple[str, Seen]], earth: Earth) -> list[Event]:
    ground = shapely.union_all([fire.geometry for _, fire in fires])
    now = _newest(when, own, fires, earth)
    if not own:
        first = max(fires, key=lambda pair: (pair[1].geometry.area, pair[1].id))[1].id
        growth = first_detection(first, when, ground, earth)
        area_ha, perimeter_km = _size(growth.geometry, earth)
        return [
            Event(
                id=first,
                first=when,
                last=when,
                geometry=growth.geometry,
                area_ha=area_ha,
                perimeter_km=perimeter_km,
                **now,
                growth=growth,
            )
        ]
    kept, *merged = sorted(own, key=lambda event: (event.first, -event.geometry.area, event.id))
    known = shapely.union_all([event.geometry for event in own])
    growth = growth_since(
        kept.id, when, before=Before(known, max(event.last for event in own)), seen=ground, earth=earth
    )
    geometry = as_multipolygon(shapely.union(known, ground))
    area_ha, perimeter_km = _size(geometry, earth)
    grown = replace(
        kept, last=when, geometry=geometry, area_ha=area_ha, perimeter_km=perimeter_km, **now, growth=growth
    )
    return [grown, *(replace(event, merged_into=kept.id) for event in merged)]


def _newest(when: str, own: list[Event], fires: list[tuple[str, Seen]], earth: Earth) -> dict[str, Any]:
    """Return the fields of an event that its newest detections say."""
    members = [member for event in own for member in event.members]
    members += [Member(fire.id, scene, when, fire.geometry) for scene, fire in fires]
    means = [fire.mean_dnbr for _, fire in fires if fire.mean_dnbr is not None]
    highest = [fire.max_dnbr for _, fire in fires if fire.max_dnbr is not None]
    is_known = len(means) == len(highest) == len(fires)
    areas = [earth.area_ha(as_multipolygon(fire.geometry)) for _, fire in fires] if is_known else []
    return {
        "members": tuple(sorted(members, key=lambda member: (member.date, member.scene, member.id))),
        "severity_ha": _summed([fire.severity_ha for _, fire in fires]),
        "observed_percent": min(fire.observed_percent for _, fire in fires),
        "mean_dnbr": round(float(np.average(means, weights=areas)), 4) if is_known else None,
        "max_dnbr": max(highest) if is_known else None,
    }


def _size(geometry: shapely.MultiPolygon, earth: Earth) -> tuple[float, float]:
    return round(earth.area_ha(geometry), 6), round(earth.outline_km(geometry)[0], 6)


def _summed(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    if not all(parts):
        return {}
    return {name: round(sum(part.get(name, 0.0) for part in parts), 6) for name in parts[0]}


def carry_ids(history: History, earlier: Mapping[str, Any]) -> History:
    """Keep the ids under which events are known, though late observations changed their first detections.

    Events are matched with the earlier ones by intersection over union, the best pairs first, each once.

    Args:
        history: As folded.
        earlier: Geometry by id, as last published, in the same CRS.
    """
    known = list(earlier)
    old, own = np.empty(len(known), dtype=object), np.empty(len(history.events), dtype=object)
    old[:], own[:] = list(earlier.values()), [event.geometry for event in history.events]
    mine, theirs = shapely.STRtree(old).query(own, predicate="intersects")
    common = shapely.area(shapely.intersection(own[mine], old[theirs]))
    shares = common / np.maximum(shapely.area(own[mine]) + shapely.area(old[theirs]) - common, np.finfo(float).tiny)
    pairs = [
        (-share, known[b], history.events[a].id) for share, a, b in zip(shares, mine, theirs, strict=True) if share > 0
    ]
    names: dict[str, str] = {}
    given: set[str] = set()
    for _, name, event_id in sorted(pairs):
        if event_id not in names and name not in given:
            names[event_id] = name
            given.add(name)
    # A name that is taken over must not be another event's own.
    for event in history.events:
        if event.id not in names and event.id in given:
            names[event.id] = f"{event.id}-{event.first}"
    return _renamed(history, names)


def _renamed(history: History, names: Mapping[str, str]) -> History:
    def name(event_id: str) -> str:
        return names.get(event_id, event_id)

    events = [
        replace(
            event,
            id=name(event.id),
            growth=replace(event.growth, event=name(event.growth.event)),
            merged_into=None if event.merged_into is None else name(event.merged_into),
        )
        for event in history.events
    ]
    steps = [replace(step, event=name(step.event)) for step in history.steps]
    return History(
        tuple(sorted(events, key=lambda event: (event.first, event.id))),
        tuple(sorted(steps, key=lambda step: (step.date, step.event))),
        history.latest,
    )
