"""Where the coordinates of a vector file or a table of points lie, as far as one can believe what it says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError

from tasks.errors import JobError, SceneError
from tasks.geometry.raster_grid import RasterGrid

Floats = NDArray[np.float64]
OF_MASK = "mask"
_FURTHEST_LONGITUDE, _FURTHEST_LATITUDE = 360.0, 90.0


def chosen_crs(path: str, stated_wkt: str | None, override: str | None, grid: RasterGrid, key: str) -> tuple[CRS, str]:
    """Return the CRS that a file's coordinates are in, and a remark where it is not the file's own.

    Args:
        path: Of the file, for errors.
        stated_wkt: What the file says.
        override: What the user says instead: anything that PROJ knows, or ``mask``.
        grid: The map's.
        key: The setting that a user mends it with.

    Raises:
        SceneError: When neither says anything.
        JobError: When the override names no CRS.
    """
    if override == OF_MASK:
        if grid.crs_wkt is None:
            raise SceneError(f"{path}: {key} is 'mask', but the map has no CRS either. Give the map its CRS")
        return CRS.from_wkt(grid.crs_wkt), f"its coordinates were read in the map's CRS, as {key} says"
    if override is not None:
        try:
            return CRS.from_user_input(override), f"its coordinates were read as {override}, as {key} says"
        except CRSError as error:
            raise JobError(
                f"{key}: '{override}' is no CRS. Write it like EPSG:32632, or 'mask' for the map's"
            ) from error
    if stated_wkt is None:
        raise SceneError(
            f"{path}: names no CRS. Say which with {option_of(key)}, or {key} in the job: such as EPSG:32632, or "
            "'mask' for the map's own"
        )
    return CRS.from_wkt(stated_wkt), ""


def option_of(key: str) -> str:
    """Return what a setting is called on the command line."""
    return "--" + key.replace("_", "-")


def refuse_if_not_degrees(path: str, crs: CRS, x: Floats, y: Floats, grid: RasterGrid, key: str) -> None:
    """Notice coordinates that cannot be the degrees their CRS says they are.

    GeoJSON without a ``crs`` member is in degrees by definition (RFC 7946, section 4), and often is not.

    Raises:
        SceneError: When longitudes or latitudes are out of range.
    """
    if not crs.is_geographic or not len(x):
        return
    if np.abs(x).max() <= _FURTHEST_LONGITUDE and np.abs(y).max() <= _FURTHEST_LATITUDE:
        return
    swapped = share_swapped(x, y, crs, grid)
    if swapped > 0.0:
        raise SceneError(
            f"{path}: coordinates such as {x[0]:.4f}, {y[0]:.4f} are no longitude and latitude, and {swapped:.0%} of "
            "them lie on the map when the two are swapped. Exchange them"
        )
    at_home = share_on(x, y, grid)
    hint = f"read in the map's CRS, {at_home:.0%} of them lie on the map" if at_home else "say in which CRS they are"
    raise SceneError(
        f"{path}: coordinates such as {x[0]:.1f}, {y[0]:.1f} are no degrees, though it says or implies {crs.name} "
        f"(GeoJSON without a CRS does); {hint}. Say {option_of(key)} {'mask' if at_home else 'EPSG:32632 or another'}, "
        f"or set {key} in the job"
    )


def to_pixels(x: Floats, y: Floats, crs: CRS, grid: RasterGrid) -> tuple[Floats, Floats]:
    """Return ``rows, cols`` of coordinates; not finite where a point cannot be had in the map's CRS."""
    target = CRS.from_wkt(grid.crs_wkt or "")
    if crs.to_2d() != target.to_2d():
        try:
            x, y = Transformer.from_crs(crs, target, always_xy=True).transform(x, y)
        except ProjError:
            return np.full(len(x), np.inf), np.full(len(y), np.inf)
    return grid.world_to_pixel(np.asarray(x, np.float64), np.asarray(y, np.float64))


def share_swapped(x: Floats, y: Floats, crs: CRS, grid: RasterGrid) -> float:
    """Return the share of points in degrees that lie on the map once longitude and latitude are exchanged."""
    if not crs.is_geographic or not len(x):
        return 0.0
    with np.errstate(invalid="ignore"):
        # What is no latitude has no place in the map's CRS.
        rows, cols = to_pixels(y, x, crs, grid)
    return float(np.mean(on_grid(rows, cols, grid)))


def share_on(x: Floats, y: Floats, grid: RasterGrid) -> float:
    """Return the share of points in the map's own CRS that lie on it."""
    rows, cols = grid.world_to_pixel(x, y)
    return float(np.mean(on_grid(rows, cols, grid))) if len(x) else 0.0


def on_grid(rows: Floats, cols: Floats, grid: RasterGrid) -> NDArray[np.bool_]:
    """Tell which points lie on a grid."""
    return (rows >= 0) & (rows < grid.rows) & (cols >= 0) & (cols < grid.cols)
