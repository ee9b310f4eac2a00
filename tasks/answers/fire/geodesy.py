"""Areas, lengths, distances and directions of polygons on the ellipsoid of their CRS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer

from tasks.geometry.geodetic import Geodetic
from tasks.geometry.longitudes import Measures, measured, near, turn_of

M2_PER_HA = 10_000.0
_Coordinates = NDArray[np.float64]


@dataclass(frozen=True)
class Earth:
    """The ellipsoid below a CRS that is tied to the Earth.

    Attributes:
        crs_wkt: Of the geometries that are measured.
    """

    crs_wkt: str

    def area_ha(self, geometry: Any) -> float:  # noqa: ANN401 - any shapely geometry
        """Return the geodesic area of polygons (Karney 2013), holes taken off."""
        return self._measured(geometry).area_m2 / M2_PER_HA

    def outline_km(self, geometry: Any) -> tuple[float, float]:  # noqa: ANN401 - any shapely geometry
        """Return the geodesic length of the outer rings, and of the rings round holes."""
        found = self._measured(geometry)
        return found.outer_m / 1000.0, found.inner_m / 1000.0

    def lon_lat(self, point: shapely.Point) -> tuple[float, float]:
        """Return longitude, from Greenwich and within 180, and latitude of a point in degrees."""
        place = self._degrees(point)
        return float(place.x), float(place.y)

    def azimuth_deg(self, start: shapely.Point, stop: shapely.Point) -> float | None:
        """Return the direction at ``start`` towards ``stop``, clockwise from north; None where both are one."""
        azimuth, _, distance = self._geod.inv(*self.lon_lat(start), *self.lon_lat(stop))
        return float(azimuth) % 360.0 if distance > 0.0 else None

    def plane(self, centre: shapely.Point) -> Callable[[Any], Any]:
        """Return what carries geometries onto a plane in metres, true in distance from ``centre``."""
        longitude, latitude = self.lon_lat(centre)
        text = f"+proj=aeqd +lon_0={longitude!r} +lat_0={latitude!r} +a={self._geod.a!r} +b={self._geod.b!r} +units=m"
        onto = Transformer.from_crs(self._geodetic.crs, CRS.from_proj4(text), always_xy=True)
        return lambda geometry: _moved(geometry, onto.transform)

    @cached_property
    def _geodetic(self) -> Geodetic:
        return Geodetic(self.crs_wkt)

    @property
    def _geod(self) -> Geod:
        return self._geodetic.geod

    def _measured(self, geometry: Any) -> Measures:  # noqa: ANN401 - any shapely geometry
        return measured(self._degrees(geometry), self._geod)

    def _degrees(self, geometry: Any) -> Any:  # noqa: ANN401 - any shapely geometry
        return _moved(geometry, self._geodetic.degrees)


def reprojected(geometries: NDArray[np.object_], from_wkt: str, to_wkt: str, beside: float) -> NDArray[np.object_]:
    """Carry geometries from one CRS to another, vertex by vertex.

    Args:
        geometries: Any, ``(geometries,)``.
        from_wkt: Their CRS.
        to_wkt: The other.
        beside: ``x`` in the other CRS of what they shall lie beside, where longitudes go round.
    """
    if len(geometries) and CRS.from_wkt(from_wkt) != CRS.from_wkt(to_wkt):
        onto = Transformer.from_crs(from_wkt, to_wkt, always_xy=True)
        geometries = _moved(geometries, onto.transform)
    return near(geometries, beside, turn_of(to_wkt))


def _moved(geometry: Any, carry: Callable[..., Any]) -> Any:  # noqa: ANN401 - any shapely geometry
    def move(points: _Coordinates) -> _Coordinates:
        return np.column_stack(carry(points[:, 0], points[:, 1]))

    return shapely.transform(geometry, move)
