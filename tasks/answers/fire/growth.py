"""How a fire grew between two observations: area, direction, speed of its front."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import shapely

from tasks.answers.fire.geodesy import Earth

_HOURS = 24.0
# Points along the outline of new ground whose distance from the old is taken, and which of them is the front.
_POINTS = 2000
_FRONT_PERCENTILE = 95.0


@dataclass(frozen=True, kw_only=True)
class Growth:
    """New ground of one event at one date; None where it cannot be computed, and ``reason`` says why.

    Attributes:
        event: Id of the event.
        date: ISO 8601.
        geometry: Ground that no earlier observation had as burned.
        area_ha: Of it.
        days: Since the event was last seen; None at its first detection.
        ha_per_day: Area by days.
        direction_deg: From the centre of the old ground to that of the new, clockwise from north.
        front_m: 95th percentile, along the outline of the new ground, of the distance from the old.
        front_max_m: The largest such distance.
        front_m_per_h: ``front_m`` by the hours since.
        reason: Why something is None.
    """

    event: str
    date: str
    geometry: shapely.MultiPolygon
    area_ha: float
    days: int | None = None
    ha_per_day: float | None = None
    direction_deg: float | None = None
    front_m: float | None = None
    front_max_m: float | None = None
    front_m_per_h: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Before:
    """An event as it was known before an observation.

    Attributes:
        geometry: Everything that was burned.
        last: ISO date of its last detection.
    """

    geometry: Any
    last: str


def first_detection(event: str, when: str, geometry: Any, earth: Earth) -> Growth:  # noqa: ANN401 - shapely
    """Return the ground that a fire had burned when it was first seen: nothing can be said of its growth."""
    ground = as_multipolygon(geometry)
    return Growth(
        event=event, date=when, geometry=ground, area_ha=round(earth.area_ha(ground), 6), reason="first detection"
    )


def growth_since(event: str, when: str, before: Before, seen: Any, earth: Earth) -> Growth:  # noqa: ANN401 - shapely
    """Compare what is seen now with all that was known.

    Args:
        event: Id.
        when: ISO date of the observation, after ``before.last``.
        before: What was known.
        seen: Everything of the event that burns or is burned at ``when``.
        earth: Below the CRS of both.
    """
    ground = as_multipolygon(shapely.difference(seen, before.geometry))
    days = (date.fromisoformat(when) - date.fromisoformat(before.last)).days
    area = round(earth.area_ha(ground), 6)
    if ground.is_empty or area == 0.0:
        return Growth(
            event=event, date=when, geometry=ground, area_ha=0.0, days=days, ha_per_day=0.0, reason="no new ground"
        )
    onto = earth.plane(ground.centroid)
    outline = onto(ground)
    points = shapely.points(shapely.get_coordinates(shapely.segmentize(outline, _spacing(outline))))
    distances = shapely.distance(points, onto(before.geometry))
    front = float(np.percentile(distances, _FRONT_PERCENTILE))
    azimuth = earth.azimuth_deg(before.geometry.centroid, ground.centroid)
    return Growth(
        event=event,
        date=when,
        geometry=ground,
        area_ha=area,
        days=days,
        ha_per_day=round(area / days, 6),
        direction_deg=None if azimuth is None else round(azimuth, 2),
        front_m=round(front, 3),
        front_max_m=round(float(distances.max()), 3),
        front_m_per_h=round(front / (days * _HOURS), 4),
        reason=None if azimuth is not None else "the new ground surrounds the old evenly",
    )


def as_multipolygon(geometry: Any) -> shapely.MultiPolygon:  # noqa: ANN401 - any shapely geometry
    """Return the polygons of a geometry; points and lines where two only touch are left out."""
    polygons: list[shapely.Polygon] = []
    for part in shapely.get_parts(geometry, return_index=False).tolist():
        if isinstance(part, shapely.Polygon) and not part.is_empty:
            polygons.append(part)
        elif isinstance(part, shapely.MultiPolygon):
            polygons.extend(as_multipolygon(part).geoms)
    return shapely.normalize(shapely.MultiPolygon(polygons))


def _spacing(geometry: Any) -> float:  # noqa: ANN401 - any shapely geometry
    return max(float(shapely.length(geometry)) / _POINTS, 1.0)
