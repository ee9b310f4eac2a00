"""True areas: of every pixel of a raster on the ellipsoid of its CRS, of every class of a mask, of components."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import ceil, fsum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from tasks.answers.components import Numbered
from tasks.geometry import geodetic
from tasks.geometry.box import Box, split
from tasks.geometry.longitudes import step
from tasks.geometry.raster_grid import RasterGrid

Floats = NDArray[np.float64]
M2_PER_HA = 10_000.0
# Areas are summed in windows of one size, so that no sum depends on the block of the run.
_WINDOW = (1024, 1024)
_NODE_METRES = 20_000.0
_NODE_PIXELS = 256
# Half the side of the quad whose area a node stands for: wide enough that the rounding of coordinates (1e-9 degree)
# does not show, narrow enough that the curvature of the projection does not either.
_HALF_QUAD_METRES = 200.0
_POLAR_LATITUDE = np.radians(60.0)
_METRES_PER_DEGREE = 111_320.0


def authalic_q(latitude: Floats, eccentricity: float) -> Floats:
    """Return ``q`` of Snyder, Map Projections (USGS PP 1395), equation 3-12.

    The area between the equator and a latitude is ``pi a^2 q``. On a sphere ``q = 2 sin(latitude)``.

    Args:
        latitude: Geodetic, in radians.
        eccentricity: Of the ellipsoid.
    """
    sine = np.sin(latitude)
    if eccentricity == 0.0:
        return 2.0 * sine
    e_sine = eccentricity * sine
    return (1.0 - eccentricity**2) * (sine / (1.0 - e_sine**2) + np.arctanh(e_sine) / eccentricity)


@dataclass(frozen=True)
class PixelAreas:
    """The area of every pixel of a raster, in m2 on the ellipsoid of its CRS.

    In a geographic, north-up raster all pixels of a row have the exact area of their piece of the row's zone. In any
    other the area is taken at nodes of a lattice fixed to the raster (every 256 pixels or 20 km, whichever is less)
    and interpolated bilinearly: relative error below 1e-5.

    Attributes:
        grid: The raster's.
    """

    grid: RasterGrid

    @cached_property
    def reason(self) -> str | None:
        """Why the raster has no areas; None when it has."""
        if self.grid.ground_control is not None:
            return "the raster is placed by ground control points only"
        if self.grid.crs_wkt is None:
            return "the raster has no CRS"
        if not (self._crs.is_geographic or self._crs.is_projected):
            return f"the CRS '{self._crs.name}' is not tied to the Earth"
        if self._crs.ellipsoid is None or self._crs.geodetic_crs is None:
            return f"the CRS '{self._crs.name}' names no ellipsoid"
        return None

    def window(self, box: Box) -> Floats:
        """Return the areas in m2 of a window, as an array that broadcasts to ``box.shape``.

        Pixels beyond the poles or outside the projection's domain have no area.

        Raises:
            ValueError: When the raster has no areas; see ``reason``.
        """
        if self.reason is not None:
            raise ValueError(self.reason)
        _, b, _, d, _, _ = self.grid.affine
        if self._is_plain_geographic and b == 0.0 and d == 0.0:
            return self._zones(box)
        return self._interpolated(box)

    @cached_property
    def _crs(self) -> CRS:
        return CRS.from_wkt(self.grid.crs_wkt or "").to_2d()

    @property
    def _is_plain_geographic(self) -> bool:
        return bool(self._crs.is_geographic and not self._crs.is_derived)

    @cached_property
    def _ellipsoid(self) -> tuple[float, float]:
        ellipsoid = self._geodetic.get_geod()
        if ellipsoid is None:
            raise ValueError(f"the CRS '{self._crs.name}' names no ellipsoid")
        return float(ellipsoid.a), float(np.sqrt(max(0.0, ellipsoid.es)))

    @property
    def _geodetic(self) -> CRS:
        return self._crs.geodetic_crs or self._crs

    @cached_property
    def _unit(self) -> float:
        return float(self._crs.axis_info[0].unit_conversion_factor)

    @cached_property
    def _to_degrees(self) -> Transformer:
        return Transformer.from_crs(self._crs, self._geodetic, always_xy=True)

    def _zones(self, box: Box) -> Floats:
        a, _, _, _, e, f = self.grid.affine
        major, eccentricity = self._ellipsoid
        edges = np.arange(box.start[0], box.stop[0] + 1, dtype=np.float64)
        latitudes = np.clip((e * edges + f) * self._unit, -np.pi / 2, np.pi / 2)
        zones = np.abs(np.diff(authalic_q(latitudes, eccentricity))) * major**2 / 2.0
        return (zones * abs(a) * self._unit)[:, np.newaxis]

    @cached_property
    def _pixel_metres(self) -> float:
        if self._is_plain_geographic:
            return float(np.sqrt(self.grid.pixel_area) * np.degrees(self._unit)) * _METRES_PER_DEGREE
        unit = self._unit if self._crs.is_projected else _METRES_PER_DEGREE
        return float(np.sqrt(self.grid.pixel_area)) * unit

    def _interpolated(self, box: Box) -> Floats:
        step = max(1, min(_NODE_PIXELS, int(_NODE_METRES / self._pixel_metres)))
        nodes, places = [], []
        for start, stop in zip(box.start, box.stop, strict=True):
            first, last = start // step, ceil(stop / step) + 1
            nodes.append(np.arange(first, last + 1, dtype=np.float64) * step)
            places.append((np.arange(start, stop) + 0.5) / step - first)
        at_nodes = self._density(*np.meshgrid(*nodes, indexing="ij"))
        return _lerp(_lerp(at_nodes, places[0]).T, places[1]).T

    def _density(self, rows: Floats, cols: Floats) -> Floats:
        half = max(0.5, _HALF_QUAD_METRES / self._pixel_metres)
        middle = self._to_sphere(rows, cols)
        down = self._step(middle, self._to_sphere(rows - half, cols), self._to_sphere(rows + half, cols))
        right = self._step(middle, self._to_sphere(rows, cols - half), self._to_sphere(rows, cols + half))
        area = np.abs(down[0] * right[1] - down[1] * right[0]) / (2.0 * half) ** 2
        return np.nan_to_num(area, nan=0.0, posinf=0.0, neginf=0.0)

    def _to_sphere(self, rows: Floats, cols: Floats) -> tuple[Floats, Floats]:
        x, y = self.grid.pixel_to_world(rows, cols)
        try:
            longitude, latitude = self._to_degrees.transform(x, y)
        except ProjError:
            return np.full(x.shape, np.nan), np.full(x.shape, np.nan)
        unit = self._geodetic.axis_info[0].unit_conversion_factor
        latitude = np.where(np.isfinite(latitude), latitude, np.nan)
        return np.where(np.isfinite(longitude), longitude, np.nan) * unit, latitude * unit

    def _step(
        self, middle: tuple[Floats, Floats], one: tuple[Floats, Floats], other: tuple[Floats, Floats]
    ) -> tuple[Floats, Floats]:
        """Return the step from ``one`` to ``other`` on an equal-area plane at ``middle``, in metres.

        The plane is the cylinder ``(a longitude, a q / 2)``, and above 60 degrees the azimuthal one of that pole
        (Snyder, equations 10-14 and 24-23), whose longitudes do not crowd.
        """
        major, eccentricity = self._ellipsoid
        (lon1, lat1), (lon2, lat2) = one, other
        turn = step(lon1, lon2, 2 * np.pi)
        q1, q2 = authalic_q(lat1, eccentricity), authalic_q(lat2, eccentricity)
        pole = np.where(middle[1] < 0, -1.0, 1.0)
        q_pole = float(authalic_q(np.array(np.pi / 2), eccentricity))
        radius1, radius2 = (major * np.sqrt(np.maximum(0.0, q_pole - pole * q)) for q in (q1, q2))
        polar = np.abs(middle[1]) > _POLAR_LATITUDE
        x = np.where(polar, radius2 * np.sin(lon2) - radius1 * np.sin(lon1), major * turn)
        y = np.where(polar, pole * (radius1 * np.cos(lon1) - radius2 * np.cos(lon2)), major * (q2 - q1) / 2.0)
        return x, y


@dataclass(frozen=True, kw_only=True)
class ClassAreas:
    """How much of a mask each class covers.

    Attributes:
        pixels: Per class, in order.
        not_observed_pixels: Pixels without an observation.
        areas_ha: Per class, in hectares on the ellipsoid; None where the raster has no areas.
        not_observed_ha: The area that was not observed.
        reason: Why there are no areas; None when there are.
    """

    pixels: tuple[int, ...]
    not_observed_pixels: int
    areas_ha: tuple[float, ...] | None
    not_observed_ha: float | None
    reason: str | None = None

    def is_shown(self, label: int, name: str) -> bool:
        """Tell whether a class is worth a row: of a mask of 0 and 255, the numbers between are not."""
        return self.pixels[label] > 0 or not is_numbered(label, name)


def is_numbered(label: int, name: str) -> bool:
    """Tell whether a class beyond the first two has no name but its number."""
    return label > 1 and name == f"class {label}"


def class_areas(
    read_block: Callable[[Box], NDArray[np.unsignedinteger[Any]]], grid: RasterGrid, n_classes: int
) -> ClassAreas:
    """Sum areas per class, window by window; the result does not depend on how the mask was made.

    Args:
        read_block: Returns the class numbers ``(rows, cols)`` of a window; the dtype's largest value, and anything
            from ``n_classes`` on, is not observed.
        grid: The mask's.
        n_classes: Classes, background included.
    """
    areas = PixelAreas(grid)
    counts = np.zeros(n_classes + 1, dtype=np.int64)
    sums: list[Floats] = []
    for box in split(grid.shape, _WINDOW):
        labels = np.minimum(read_block(box), n_classes).astype(np.intp)
        counts += np.bincount(labels.ravel(), minlength=n_classes + 1)
        if areas.reason is None:
            weights = np.broadcast_to(areas.window(box), box.shape)
            window_sums = np.bincount(labels.ravel(), weights=weights.ravel(), minlength=n_classes + 1)
            sums.append(window_sums.astype(np.float64))
    pixels = tuple(int(count) for count in counts)
    if areas.reason is not None:
        return ClassAreas(
            pixels=pixels[:-1], not_observed_pixels=pixels[-1], areas_ha=None, not_observed_ha=None, reason=areas.reason
        )
    hectares = [fsum(column) / M2_PER_HA for column in np.array(sums).reshape(-1, n_classes + 1).T]
    return ClassAreas(
        pixels=pixels[:-1], not_observed_pixels=pixels[-1], areas_ha=tuple(hectares[:-1]), not_observed_ha=hectares[-1]
    )


def component_areas_ha(components: Numbered, grid: RasterGrid) -> Floats | None:
    """Return the area of each component in hectares on the ellipsoid; None where the raster has no areas."""
    areas = PixelAreas(grid)
    if areas.reason is not None:
        return None
    sums = np.zeros(components.n + 1)
    for box, labels in components.windows():
        weights = np.broadcast_to(areas.window(box), box.shape)
        sums += np.bincount(labels.ravel(), weights=weights.ravel(), minlength=components.n + 1)
    return sums[1:] / M2_PER_HA


def pixel_sides_m(grid: RasterGrid) -> tuple[float, float] | None:
    """Return the geodesic sides of the middle pixel, ``rows, cols`` in metres; None where the raster has no areas."""
    return None if PixelAreas(grid).reason is not None else geodetic.pixel_sides_m(grid)


def _lerp(nodes: Floats, places: Floats) -> Floats:
    """Interpolate along the first axis."""
    first = np.floor(places).astype(np.intp)
    share = (places - first)[:, np.newaxis]
    lower, upper = nodes[first], nodes[first + 1]
    between: Floats = lower + (upper - lower) * share
    return between
