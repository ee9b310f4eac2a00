"""The grid of a raster: shape, pixel-to-world affine and CRS."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tasks.geometry.longitudes import turn_of, wrapped

Affine6: TypeAlias = tuple[float, float, float, float, float, float]
IDENTITY: Affine6 = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
# How a raster says that its geotransform is in millimetres: GDAL has no word for it without a CRS.
UNIT_TAG, MILLIMETRES = "PIXEL_UNIT", "mm"
_ALIGNMENT_TOLERANCE_PX = 1e-6


@dataclass(frozen=True)
class GroundControl:
    """Ground control points ``row, col, x, y, z`` of a raster that has no affine, and their CRS."""

    points: tuple[tuple[float, float, float, float, float], ...]
    crs_wkt: str | None


@dataclass(frozen=True, kw_only=True)
class RasterGrid:
    """Where the pixels of a raster lie.

    Attributes:
        rows: Pixels down.
        cols: Pixels across.
        affine: ``a, b, c, d, e, f`` of ``x = a col + b row + c``, ``y = d col + e row + f``, for corners.
        crs_wkt: The CRS of ``x, y``; None where the raster has none.
        area_or_point: GDAL's ``AREA_OR_POINT``; the affine speaks of pixel corners in either case.
        ground_control: What a raster without an affine may have instead.
        rpcs: Rational polynomial coefficients as GDAL names them; what a raster may have instead, too.
        is_millimetres: Whether ``x, y`` are millimetres in a picture, as of DICOM; such a raster has no CRS.
    """

    rows: int
    cols: int
    affine: Affine6 = IDENTITY
    crs_wkt: str | None = None
    area_or_point: str = "Area"
    ground_control: GroundControl | None = None
    rpcs: tuple[tuple[str, str], ...] = ()
    is_millimetres: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.cols

    @property
    def spacing_mm(self) -> tuple[float, float] | None:
        """From one row, and from one column, to the next; None where nobody says that the unit is millimetres."""
        if not self.is_millimetres:
            return None
        a, b, _, d, e, _ = self.affine
        return float(np.hypot(b, e)), float(np.hypot(a, d))

    def pixel_to_world(
        self, rows: NDArray[np.float64], cols: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return ``x, y`` of pixel coordinates; integers are corners, ``+ 0.5`` is a centre."""
        a, b, c, d, e, f = self.affine
        return a * cols + b * rows + c, d * cols + e * rows + f

    def world_to_pixel(
        self, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return ``rows, cols`` of points, the inverse of ``pixel_to_world``, however their longitudes are counted."""
        return self.plane_to_pixel(x if self.turn is None else wrapped(x, self.centre_x, self.turn), y)

    def plane_to_pixel(
        self, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return ``rows, cols`` of the points of shapes that already lie beside the grid (``longitudes.near``)."""
        a, b, c, d, e, f = self.affine
        determinant = a * e - b * d
        dx, dy = x - c, y - f
        return (a * dy - d * dx) / determinant, (e * dx - b * dy) / determinant

    @cached_property
    def turn(self) -> float | None:
        """By how much ``x`` grows once round the Earth; see ``longitudes.turn_of``."""
        return turn_of(self.crs_wkt)

    @property
    def counts_beyond(self) -> bool:
        """Whether its middle lies beyond half a turn: longitudes of 0 to 360 west of Greenwich."""
        centre = np.array([self.centre_x])
        return self.turn is not None and bool(np.any(wrapped(centre, turn=self.turn) != centre))

    @property
    def centre_x(self) -> float:
        """``x`` of the middle: what is laid beside the grid is laid near it."""
        a, b, c, _, _, _ = self.affine
        return a * self.cols / 2 + b * self.rows / 2 + c

    @property
    def unplaced(self) -> str | None:
        """Why its pixels have no place on the ground; None where they have one."""
        if self.ground_control is not None:
            return "placed by ground control points alone"
        return "no CRS" if self.crs_wkt is None else None

    @property
    def pixel_area(self) -> float:
        """Area of a pixel in squared units of the CRS."""
        a, b, _, d, e, _ = self.affine
        return abs(a * e - b * d)

    def lies_on(self, other: RasterGrid) -> bool:
        """Tell whether every corner pixel lies within 1e-6 pixel of the same pixel of ``other``."""
        if self.shape != other.shape or self.ground_control != other.ground_control:
            return False
        corners = np.array([[0, 0], [0, self.cols], [self.rows, 0], [self.rows, self.cols]], dtype=np.float64)
        if other.pixel_area == 0.0:
            return self.affine == other.affine
        rows, cols = other.world_to_pixel(*self.pixel_to_world(corners[:, 0], corners[:, 1]))
        distance = np.abs(np.stack([rows, cols], axis=1) - corners)
        return bool(np.all(distance <= _ALIGNMENT_TOLERANCE_PX))
