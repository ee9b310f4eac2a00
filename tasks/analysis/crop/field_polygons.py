"""Field polygons from any vector file, laid over a map or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from tasks.analysis.crop.coordinates import chosen_crs, refuse_if_not_degrees, share_swapped
from tasks.answers.crop.placement import PlacedPolygons, place_polygons
from tasks.errors import PolygonError, SceneError
from tasks.geometry.longitudes import turn_of, unrolled
from tasks.geometry.raster_grid import RasterGrid
from tasks.scenes.vectors import Column, read_vectors


@dataclass(frozen=True, kw_only=True)
class FieldPolygons:
    """Fields on a map.

    Attributes:
        ids: One per field.
        geometries: As in the file, unrolled, repaired where they crossed themselves, in ``crs_wkt``.
        crs_wkt: The CRS they were read in.
        placed: On the map's grid, with geodesic areas.
        columns: The file's own, by name.
        remarks: What a reader has to know.
    """

    ids: tuple[str, ...]
    geometries: NDArray[Any]
    crs_wkt: str
    placed: PlacedPolygons
    columns: dict[str, list[Any]]
    remarks: tuple[str, ...]


def read_fields(path: str, grid: RasterGrid, crs: str | None = None, id_column: str | None = None) -> FieldPolygons:
    """Read polygons and lay them over a map.

    Args:
        path: Of a vector file.
        grid: The map's.
        crs: The polygons' CRS where the file names none or a wrong one, or ``mask``.
        id_column: The column that names a field; numbers from 1 where left out.

    Raises:
        PolygonError: When the file is damaged, holds no polygons, its CRS is missing or cannot be true, or none of them
            lies on the map.
    """
    if grid.crs_wkt is None:
        raise PolygonError(f"{path}: the map has no CRS, so no polygon can be laid over it. Give the map its CRS")
    table = read_vectors(path)
    found, kept, remarks = _polygons(path, table.geometries)
    remarks = [*(f"{Path(path).name}: {remark}" for remark in table.remarks), *remarks]
    try:
        own, remark = chosen_crs(path, table.crs_wkt, override=crs, grid=grid, key="fields_crs")
        points = shapely.get_coordinates(found)
        refuse_if_not_degrees(path, own, x=points[:, 0], y=points[:, 1], grid=grid, key="fields_crs")
    except SceneError as error:
        raise PolygonError(str(error)) from error
    if remark:
        remarks.append(f"{Path(path).name}: {remark}")
    # Over the antimeridian sound polygons cross themselves in a plane, so they are unrolled before they are repaired.
    geometries, sound, repairs = _repaired(path, unrolled(found, turn_of(own.to_wkt())))
    kept, remarks = kept[sound], [*remarks, *repairs]
    placed = place_polygons(geometries, own.to_wkt(), grid)
    _refuse_elsewhere(path, placed, grid, lambda: share_swapped(points[:, 0], points[:, 1], own, grid))
    columns = {name: _kept(column, kept) for name, column in table.columns.items()}
    ids = _ids(path, columns, id_column, kept)
    if len(set(ids)) < len(ids):
        remarks.append(f"{Path(path).name}: column '{id_column}' names {len(ids)} fields by {len(set(ids))} names")
    return FieldPolygons(
        ids=ids, geometries=geometries, crs_wkt=own.to_wkt(), placed=placed, columns=columns, remarks=tuple(remarks)
    )


def _polygons(path: str, found: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp], list[str]]:
    """Return the polygons, their numbers in the file, and a remark on those that are none."""
    geometries = shapely.force_2d(np.asarray(found, object))
    # What collections hold beside polygons covers no ground.
    for number in np.flatnonzero(shapely.get_type_id(geometries) == shapely.GeometryType.GEOMETRYCOLLECTION):
        parts = shapely.get_parts(shapely.get_parts(geometries[number]))
        geometries[number] = shapely.MultiPolygon([part for part in parts if part.geom_type == "Polygon"])
    types = shapely.get_type_id(geometries)
    usable = np.isin(types, (3, 6)) & ~shapely.is_empty(geometries)
    if not usable.any():
        raise PolygonError(f"{path}: holds no polygons. Give a file of field boundaries")
    remarks = []
    if not usable.all():
        remarks.append(
            f"{Path(path).name}: {int((~usable).sum())} of {len(usable)} features are no polygons and were left out"
        )
    kept = np.flatnonzero(usable)
    return geometries[kept], kept, remarks


def _repaired(path: str, polygons: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp], list[str]]:
    """Return sound polygons, which of the given ones they are, and a remark on those that had to be repaired."""
    broken = ~shapely.is_valid(polygons)
    if not broken.any():
        return polygons, np.arange(len(polygons)), []
    mended = polygons.copy()
    mended[broken] = shapely.buffer(shapely.make_valid(polygons[broken]), 0)
    sound = np.flatnonzero(~shapely.is_empty(mended))
    if not len(sound):
        raise PolygonError(f"{path}: its {len(polygons)} polygons cover no ground: lines or points that are called so")
    lost = len(mended) - len(sound)
    counts = {"cross themselves and were repaired": int(broken.sum()) - lost, "cover no ground and were left out": lost}
    remarks = [f"{Path(path).name}: {count} polygons {told}" for told, count in counts.items() if count]
    return mended[sound], sound, remarks


def _refuse_elsewhere(
    path: str, placed: PlacedPolygons, grid: RasterGrid, share_when_swapped: Callable[[], float]
) -> None:
    west, north, east, south = shapely.bounds(placed.pixels).T
    with np.errstate(invalid="ignore"):
        meets = (west < grid.cols) & (east > 0) & (north < grid.rows) & (south > 0)
    if meets.any():
        return
    swapped = share_when_swapped()
    if swapped > 0.0:
        raise PolygonError(
            f"{path}: none of {len(meets)} polygons lies on the map, and {swapped:.0%} of their points do when "
            "longitude and latitude are swapped. Exchange them: GeoJSON has longitude first"
        )
    raise PolygonError(
        f"{path}: none of {len(meets)} polygons lies on the map: they belong to another place, or their CRS is not "
        "what the file says. Give the polygons of this map, or say --fields-crs"
    )


def _ids(path: str, columns: dict[str, list[Any]], name: str | None, kept: NDArray[np.intp]) -> tuple[str, ...]:
    if name is None:
        return tuple(str(number + 1) for number in kept)
    if name not in columns:
        raise PolygonError(f"{path}: has no column '{name}' to name fields by. It has: {', '.join(columns) or 'none'}")
    return tuple(str(value) for value in columns[name])


def _kept(column: Column, kept: NDArray[np.intp]) -> list[Any]:
    return [plain(column[number]) for number in kept]


def plain(value: Any) -> Any:  # noqa: ANN401 - a cell of any type
    """Return a cell as Python has it; NaN and masked cells are None."""
    if value is None or value is np.ma.masked:
        return None
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and np.isnan(value) else value
