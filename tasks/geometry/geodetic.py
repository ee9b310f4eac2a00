"""From any CRS that is tied to the Earth to longitude and latitude in degrees from Greenwich, and their ellipsoid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer

from tasks.geometry.longitudes import wrapped
from tasks.geometry.raster_grid import RasterGrid

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Geodetic:
    """The geodetic CRS below another; its own unit may be the grad and its prime meridian that of Paris.

    Attributes:
        crs_wkt: Of the coordinates that are carried over.
    """

    crs_wkt: str

    @cached_property
    def crs(self) -> CRS:
        """Of the coordinates, without heights."""
        return CRS.from_wkt(self.crs_wkt).to_2d()

    @cached_property
    def geod(self) -> Geod:
        """The ellipsoid, which takes degrees.

        Raises:
            ValueError: When the CRS names none.
        """
        geod = self._own.get_geod()
        if geod is None:
            raise ValueError(f"the CRS '{self.crs.name}' names no ellipsoid")
        return geod

    def degrees(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return longitude, east of Greenwich and within 180, and latitude in degrees, on the datum of the CRS.

        Points that the CRS does not reach are infinite.
        """
        longitude, latitude = self._onto_own.transform(x, y)
        unit, meridian = self._unit, self._meridian
        return wrapped(np.asarray(longitude) * unit + meridian), np.asarray(latitude) * unit

    @property
    def is_plain(self) -> bool:
        """Whether its own unit is the degree, counted from Greenwich."""
        return self._unit == 1.0 and self._meridian == 0.0

    @property
    def wkt(self) -> str:
        """The geodetic CRS itself, with its own unit and prime meridian."""
        return self._own.to_wkt()

    @cached_property
    def _own(self) -> CRS:
        return self.crs.geodetic_crs or self.crs

    @cached_property
    def _onto_own(self) -> Transformer:
        return Transformer.from_crs(self.crs, self._own, always_xy=True)

    @cached_property
    def _unit(self) -> float:
        """Degrees in one of its units; exactly 1 where they are degrees."""
        return _degrees(self._own.axis_info[0].unit_conversion_factor)

    @cached_property
    def _meridian(self) -> float:
        """Degrees of its prime meridian east of Greenwich."""
        meridian = self._own.prime_meridian
        return 0.0 if meridian is None else float(meridian.longitude) * _degrees(float(meridian.unit_conversion_factor))


def pixel_sides_m(grid: RasterGrid) -> tuple[float, float] | None:
    """Return the geodesic sides of a grid's middle pixel, ``rows, cols``; None where it has none on the Earth."""
    if grid.crs_wkt is None:
        return None
    earth = Geodetic(grid.crs_wkt)
    if not (earth.crs.is_geographic or earth.crs.is_projected) or earth.crs.get_geod() is None:
        return None
    row, col = grid.rows // 2, grid.cols // 2
    rows, cols = np.array([row, row + 1, row], np.float64), np.array([col, col, col + 1], np.float64)
    lon, lat = earth.degrees(*grid.pixel_to_world(rows, cols))
    if not np.isfinite([lon, lat]).all():
        return None
    _, _, sides = earth.geod.inv(lon[[0, 0]], lat[[0, 0]], lon[1:], lat[1:])
    return (float(sides[0]), float(sides[1])) if min(sides) > 0 else None


def _degrees(radians: float) -> float:
    degrees = float(np.degrees(radians))
    return 1.0 if abs(degrees - 1.0) < 1e-12 else degrees
