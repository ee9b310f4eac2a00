"""Longitudes go round: 179.9 and -179.9 are neighbours, and 190 is -170. Whatever computes with them does it here.

Shapes are *unrolled* to compute with them: the longitudes of a shape run on over the antimeridian, so that it is one
piece in a plane, and a site's shapes lie beside each other there. They are *cut* at the antimeridian where they are
handed on (RFC 7946, section 3.1.9). An edge is taken the short way round: one of 359 degrees is one of 1 degree.

One *turn* is once round the Earth in the unit of a CRS: 360 where it has degrees, 40,075,016.69 in Web Mercator.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import fsum
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import ProjError
from shapely.geometry.base import BaseGeometry

Floats = NDArray[np.float64]
Geometries = NDArray[Any]
DEGREES = 360.0
# Beyond every latitude, in whatever unit.
# Of a turn: how near a point lies to the antimeridian, or to an edge, that lies on it.
_SEAM = 1e-12
_FAR = 1e12
# Where it is asked whether a projection goes round.
_PROBED_LONGITUDES, _PROBED_LATITUDES = (-135.0, -45.0, 45.0, 135.0), (0.0, 40.0)


@lru_cache(maxsize=256)
def turn_of(crs_wkt: str | None) -> float | None:
    """Return by how much ``x`` grows once round the Earth; None where it does not come back to where it began.

    It does in geographic CRSs and on cylinders: Mercator, plate carree, equal area.
    """
    if crs_wkt is None:
        return None
    crs = CRS.from_wkt(crs_wkt).to_2d()
    if crs.is_geographic:
        degrees = float(np.degrees(crs.axis_info[0].unit_conversion_factor))
        return DEGREES if abs(degrees - 1.0) < 1e-12 else DEGREES / degrees
    own = crs.geodetic_crs
    if not crs.is_projected or own is None:
        return None
    degrees = float(np.degrees(own.axis_info[0].unit_conversion_factor))
    lon, lat = np.meshgrid(np.array(_PROBED_LONGITUDES) / degrees, np.array(_PROBED_LATITUDES) / degrees)
    try:
        x, y = Transformer.from_crs(own, crs, always_xy=True).transform(lon, lat)
    except ProjError:
        return None
    return _turn_of_cylinder(np.asarray(x), np.asarray(y))


def _turn_of_cylinder(x: Floats, y: Floats) -> float | None:
    """Tell it from a lattice of points, ``latitudes, longitudes``: meridians and parallels are straight, or it is none.

    Between two of four meridians a quarter of a turn apart lies where the map is cut, at most.
    """
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    quarter = float(np.median(np.abs(np.diff(x[0]))))
    tolerance = 1e-6 * quarter
    is_straight = np.ptp(x, axis=0).max() <= tolerance and np.ptp(y, axis=1).max() <= tolerance
    return 4.0 * quarter if is_straight and np.ptp(y) > tolerance else None


def wrapped(x: Floats, centre: float = 0.0, turn: float = DEGREES) -> Floats:
    """Return ``x`` within half a turn of ``centre``; what is there already keeps every bit, what is not finite too."""
    x = np.asarray(x, np.float64)
    turns = np.rint(np.where(np.isfinite(x), x - centre, 0.0) / turn)
    found: Floats = np.where(turns == 0.0, x, x - turns * turn)
    return found


def step(one: Floats, other: Floats, turn: float = DEGREES) -> Floats:
    """Return the way from one longitude to another, the short way round, positive to the east."""
    return wrapped(np.asarray(other, np.float64) - np.asarray(one, np.float64), turn=turn)


def unrolled(geometries: Geometries, turn: float | None) -> Geometries:
    """Return shapes each of which is one piece in a plane, and lies where its first point does.

    Rings and lines run on over the antimeridian; the parts of a shape lie beside its first one, and what was cut there
    is one again. A ring round a pole is closed along it. Heights are left out.

    Args:
        geometries: Any, ``(shapes,)``.
        turn: Of their CRS; None leaves them as they are.
    """
    found: Geometries = np.array(geometries, object)
    if turn is None or not len(found):
        return found
    west, _, east, _ = shapely.bounds(found).T
    for number in np.flatnonzero(east - west > turn / 2):
        found[number] = _unrolled(shapely.force_2d(found[number]), turn)
    return found


def near(geometries: Geometries, centre: float, turn: float | None) -> Geometries:
    """Return unrolled shapes, each moved by whole turns so that its middle is as near to ``centre`` as can be.

    Args:
        geometries: Unrolled or not, ``(shapes,)``.
        centre: ``x`` of what they shall lie beside.
        turn: Of their CRS; None leaves them as they are.
    """
    found = unrolled(geometries, turn)
    if turn is None or not len(found):
        return found
    west, _, east, _ = shapely.bounds(found).T
    with np.errstate(invalid="ignore"):
        turns = np.rint(((west + east) / 2 - centre) / turn)
    for number in np.flatnonzero(np.nan_to_num(turns)):
        found[number] = _moved(found[number], -turns[number] * turn)
    return found


def cut(geometries: Geometries, turn: float | None = DEGREES) -> Geometries:
    """Return shapes within half a turn of the prime meridian, cut where they cross the antimeridian.

    Args:
        geometries: Unrolled or not, ``(shapes,)``.
        turn: Of their CRS; None leaves them as they are.
    """
    found = unrolled(geometries, turn)
    if turn is None or not len(found):
        return found
    west, _, east, _ = shapely.bounds(found).T
    for number in np.flatnonzero((west < -turn / 2) | (east > turn / 2)):
        found[number] = _cut(found[number], turn)
    return found


def bounding_box(geometries: Geometries, turn: float | None = DEGREES) -> tuple[float, float, float, float] | None:
    """Return west, south, east, north of all shapes; west is beyond east where the box crosses the antimeridian.

    That is how GeoJSON (RFC 7946, section 5.2), GeoParquet and STAC write it. The box is the narrowest.

    Args:
        geometries: Any, ``(shapes,)``.
        turn: Of their CRS; None for one whose ``x`` does not go round.

    Returns:
        None where there is no point.
    """
    parts = shapely.get_parts(unrolled(geometries, turn))
    parts = parts[~shapely.is_empty(parts)]
    if not len(parts):
        return None
    west, south, east, north = (float(edge) for edge in shapely.total_bounds(parts))
    if turn is not None:
        bounds = shapely.bounds(parts)
        west, east = _narrowest(bounds[:, 0], bounds[:, 2], turn)
    return west, south, east, north


def box_shape(west: float, south: float, east: float, north: float) -> BaseGeometry:
    """Return a box in degrees as a shape, cut at the antimeridian; west may lie beyond east, or both beyond 180."""
    far = east if east >= west else east + DEGREES
    if far - west >= DEGREES:
        return shapely.box(-DEGREES / 2, south, DEGREES / 2, north)
    found: BaseGeometry = _cut(shapely.box(west, south, far, north), DEGREES)
    return found


def boxes_of(shape: BaseGeometry) -> list[tuple[float, float, float, float]]:
    """Return the boxes round what a shape in degrees covers on either side of the antimeridian: one or two of them.

    Their west is never beyond their east, which not every server understands.
    """
    box = bounding_box(np.array([shape], object))
    if box is None:
        return []
    found = [shapely.bounds(part).tolist() for part in shapely.get_parts(box_shape(*box))]
    return [(west, south, east, north) for west, south, east, north in sorted(found, reverse=True)]


@dataclass(frozen=True)
class Measures:
    """Of a polygon on an ellipsoid.

    Attributes:
        area_m2: Holes taken off.
        outer_m: Length of the outer rings.
        inner_m: Length of the rings round holes.
    """

    area_m2: float
    outer_m: float
    inner_m: float


def measured(geometry: Any, geod: Geod) -> Measures:  # noqa: ANN401 - any shapely geometry
    """Measure polygons in degrees along geodesics (Karney 2013), whichever way round their rings run.

    No ring holds more than half of the Earth.

    Args:
        geometry: A polygon or several; what else is in a collection has no area.
        geod: The ellipsoid.
    """
    whole = unrolled(np.array([geometry], object), DEGREES)[0]
    areas: list[float] = []
    outer: list[float] = []
    inner: list[float] = []
    for part in _polygons(whole):
        for number, ring in enumerate((part.exterior, *part.interiors)):
            area, length = geod.polygon_area_perimeter(*ring.xy)
            areas.append(-abs(area) if number else abs(area))
            (inner if number else outer).append(length)
    return Measures(fsum(areas), fsum(outer), fsum(inner))


def _polygons(geometry: Any) -> Iterator[shapely.Polygon]:  # noqa: ANN401 - any shapely geometry
    for part in shapely.get_parts(geometry).tolist():
        if isinstance(part, shapely.Polygon):
            if not part.is_empty:
                yield part
        elif hasattr(part, "geoms"):
            yield from _polygons(part)


def _unrolled(geometry: Any, turn: float) -> Any:  # noqa: ANN401 - any shapely geometry
    parts = shapely.get_parts(geometry)
    if len(parts) == 1:
        return _one_piece(parts[0], turn)
    pieces = np.array([_unrolled(part, turn) for part in parts], object)
    middles = shapely.bounds(pieces)[:, [0, 2]].mean(axis=1)
    turns = np.rint((middles - middles[0]) / turn)
    if not np.any(turns):
        return type(geometry)(pieces.tolist())
    moved = [_moved(piece, -k * turn) if k else piece for piece, k in zip(pieces, turns, strict=True)]
    if not all(isinstance(piece, shapely.Polygon) for piece in moved):
        return type(geometry)(moved)
    # What was cut at the antimeridian is one again, and its outline has no seam.
    united = shapely.union_all(shapely.make_valid(np.array(moved, object)))
    return shapely.MultiPolygon([_without_seam(polygon, turn) for polygon in _polygons(united)])


def _without_seam(polygon: shapely.Polygon, turn: float) -> shapely.Polygon:
    """Leave out the points that a cut has put where an edge crosses the antimeridian.

    A geodesic from one end of the edge to the other is not the two to and from that point.
    """
    rings = [_ring_without_seam(shapely.get_coordinates(ring), turn) for ring in (polygon.exterior, *polygon.interiors)]
    return shapely.Polygon(rings[0], rings[1:])


def _ring_without_seam(ring: Floats, turn: float) -> Floats:
    points = ring[:-1]
    before, after = np.roll(points, 1, axis=0), np.roll(points, -1, axis=0)
    close = _SEAM * turn
    to_seam = np.abs(np.remainder(points[:, 0], turn) - turn / 2)
    crosses = (points[:, 0] - before[:, 0]) * (after[:, 0] - points[:, 0]) > 0
    edge, part = after - before, points - before
    off_edge = np.abs(edge[:, 0] * part[:, 1] - edge[:, 1] * part[:, 0])
    on_edge = off_edge <= close * np.hypot(edge[:, 0], edge[:, 1])
    kept = points[~((to_seam <= close) & crosses & on_edge)]
    return np.concatenate([kept, kept[:1]])


def _one_piece(part: Any, turn: float) -> Any:  # noqa: ANN401 - any shapely geometry
    if not isinstance(part, shapely.Polygon):
        return shapely.transform(part, lambda points: _run_on(points, turn))
    outer = _ring(shapely.get_coordinates(part.exterior), turn)
    first = outer[:, 0].min()
    holes = []
    for ring in part.interiors:
        hole = _ring(shapely.get_coordinates(ring), turn)
        hole[:, 0] += turn * np.ceil((first - hole[:, 0].min()) / turn - 1e-9)
        holes.append(hole)
    return shapely.Polygon(outer, holes)


def _run_on(points: Floats, turn: float) -> Floats:
    """Return points whose steps go the short way round; a step of exactly one turn goes nowhere."""
    turns = np.rint(np.diff(points[:, 0]) / turn)
    shifts = -turn * np.concatenate([[0.0], np.cumsum(turns)])
    found: Floats = np.column_stack([points[:, 0] + shifts, points[:, 1]])
    return found


def _ring(points: Floats, turn: float) -> Floats:
    found = _run_on(points, turn)
    if np.ptp(found[:, 0]) == 0.0:
        # All of the Earth, drawn from one side of the map to the other.
        return points.copy()
    if found[0, 0] != found[-1, 0]:
        # Round a pole: in a plane such a ring ends one turn from where it began.
        pole = np.copysign(turn / 4, found[:, 1].mean())
        found = np.vstack([found, [found[-1, 0], pole], [found[0, 0], pole], found[0]])
    return found


def _moved(geometry: Any, by: float) -> Any:  # noqa: ANN401 - any shapely geometry
    return shapely.transform(geometry, lambda points: points + np.array([by, 0.0]))


def _cut(geometry: Any, turn: float) -> Any:  # noqa: ANN401 - any shapely geometry
    half = turn / 2
    west, _, east, _ = shapely.bounds(geometry)
    first, last = int(np.floor((west + half) / turn)), int(np.ceil((east + half) / turn)) - 1
    if first >= last:
        return _moved(geometry, -first * turn) if first else geometry
    sound = shapely.make_valid(geometry)
    pieces = [
        _moved(shapely.intersection(sound, shapely.box(k * turn - half, -_FAR, k * turn + half, _FAR)), -k * turn)
        for k in range(first, last + 1)
    ]
    polygons = [polygon for piece in pieces for polygon in _polygons(piece)]
    return shapely.MultiPolygon(polygons) if polygons else shapely.union_all(pieces)


def _narrowest(west: Floats, east: Floats, turn: float) -> tuple[float, float]:
    """Return the ends of the shortest arc that holds all arcs ``west`` to ``east``: what the widest gap leaves."""
    half, n = turn / 2, len(west)
    start = wrapped(west, turn=turn)
    order = np.argsort(start, kind="stable")
    start, width = start[order], (east - west)[order]
    # Two turns: in the second one the gaps are known, for an arc of the first may reach into it.
    starts, stops = (np.concatenate([ends, ends + turn]) for ends in (start, start + width))
    gaps = starts[n:] - np.maximum.accumulate(stops)[n - 1 : -1]
    widest = int(np.argmax(gaps))
    if gaps[widest] <= 0.0:
        return -half, half
    furthest = order[int(np.argmax(stops[: n + widest])) % n]
    first, last = float(start[widest]), float(wrapped(east[furthest : furthest + 1], turn=turn)[0])
    # Both signs name the antimeridian: a box begins at -180 and ends at 180.
    if first == half and last < half:
        return -half, last
    return first, half if last == -half and first > -half else last
