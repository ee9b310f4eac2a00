"""Fields with what was found of them, as GeoPackage and fiboa-style GeoParquet."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from pyproj import CRS

from tasks.analysis.crop.fields import MeasuredFields
from tasks.answers.area import M2_PER_HA
from tasks.answers.fire.geodesy import reprojected
from tasks.geometry.geodetic import Geodetic
from tasks.geometry.longitudes import cut, turn_of
from tasks.products.vectors import write_gpkg, write_parquet
from tasks.scenes.vectors import Column, VectorTable

# Columns of fiboa's specification (fiboa.org) and what they are called in a GeoPackage, where names with colons
# are a nuisance.
_FIBOA = {"area_m2": "metrics:area", "perimeter_m": "metrics:perimeter", "determined": "determination:datetime"}
# The versions of Vecorel and of fiboa that are written.
_SCHEMAS = (
    "https://vecorel.org/specification/v0.1.0/schema.yaml",
    "https://fiboa.org/specification/v0.3.0/schema.yaml",
)
_WGS84 = 4326
_TAKEN = ("fid", "ogc_fid", "geom", "geometry", "bbox")


def write_fields(folder: Path, measured: MeasuredFields, names: list[str], collection: str, date: str | None) -> None:
    """Write ``fields.gpkg`` and ``fields.parquet``: the file's own columns, then what was found.

    Args:
        folder: Of the product.
        measured: The fields.
        names: Of the map's classes.
        collection: What the fields are called together: the scene.
        date: ISO 8601 of the picture, where known.
    """
    found = found_columns(measured, names, collection, date)
    renamed = own_names(measured.fields.columns, {*found, *_FIBOA.values(), *_TAKEN})
    columns: dict[str, Column] = {
        **found,
        **{renamed[name]: column for name, column in measured.fields.columns.items()},
    }
    wkt = measured.fields.crs_wkt
    table = VectorTable(
        name="fields", crs_wkt=wkt, geometries=cut(measured.fields.geometries, turn_of(wkt)), columns=columns
    )
    write_gpkg(folder / "fields.gpkg", table)
    collections = {"collection": collection, "schemas": {collection: list(_SCHEMAS)}}
    write_parquet(folder / "fields.parquet", _as_fiboa(table, measured, date), ("id", "collection"), collections)


def own_names(own: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """Return what the file's own columns are called beside ours: a name that is taken gets ``_own``, and a number.

    In a GeoPackage ``Name`` and ``name`` are one.

    Args:
        own: Names in the file.
        taken: Names of ours, and those that formats keep for themselves.
    """
    used, found = {name.casefold() for name in taken}, {}
    for name in own:
        tries = chain((name, f"{name}_own"), (f"{name}_own_{number}" for number in count(2)))
        found[name] = next(candidate for candidate in tries if candidate.casefold() not in used)
        used.add(found[name].casefold())
    return found


def _as_fiboa(table: VectorTable, measured: MeasuredFields, date: str | None) -> VectorTable:
    """Return a table in longitude and latitude as fiboa wants it; WGS 84 where the own ones are no degrees.

    Its metrics have 32 bits, and a time is none without its zone.
    """
    geodetic, own = Geodetic(measured.fields.crs_wkt), measured.fields.geometries
    columns = {_FIBOA.get(name, name): column for name, column in table.columns.items()}
    for name in ("metrics:area", "metrics:perimeter"):
        columns[name] = np.asarray(columns[name], np.float32)
    if date is None:
        # A column of nulls has no type of its own, and may be left out.
        del columns["determination:datetime"]
    else:
        columns["determination:datetime"] = [datetime.fromisoformat(date).replace(tzinfo=UTC)] * len(measured.rows)
    wkt = geodetic.wkt if geodetic.is_plain else CRS.from_epsg(_WGS84).to_wkt()
    degrees = measured.fields.placed.geographic
    if not geodetic.is_plain:
        degrees = cut(reprojected(own, geodetic.crs.to_wkt(), wkt, beside=0.0))
    return VectorTable(name="fields", crs_wkt=wkt, geometries=shapely.orient_polygons(degrees), columns=columns)


def found_columns(measured: MeasuredFields, names: list[str], collection: str, date: str | None) -> dict[str, Column]:
    """Return what was found, a column per quantity; nulls where there is nothing to tell it from."""
    rows, placed = measured.rows, measured.fields.placed
    named = {key: [_name(getattr(row, key), names) for row in rows] for key in ("majority", "second", "inner_majority")}
    columns: dict[str, Column] = {
        "id": list(measured.fields.ids),
        "collection": [collection] * len(rows),
        "area_m2": placed.areas_m2,
        "perimeter_m": placed.perimeters_m,
        "area_ha": placed.areas_m2 / M2_PER_HA,
        "determined": [date] * len(rows),
        "majority": named["majority"],
        "majority_class": _numbers([row.majority for row in rows]),
        "purity": _floats([row.purity for row in rows]),
        "second": named["second"],
        "second_share": _floats([row.second_share for row in rows]),
        "vote_margin": _floats([row.vote_margin for row in rows]),
        "probability_mean": _floats([row.probability_mean for row in rows]),
        "probability_margin_at_least": _floats([row.probability_margin_at_least for row in rows]),
        "pixels": np.array([row.pixels for row in rows], np.int64),
        "observed_pixels": np.array([row.observed_pixels for row in rows], np.int64),
        "valid_share": _floats([row.valid_share for row in rows]),
        "on_map_share": _floats([row.on_map_share for row in rows]),
        "inner_pixels": np.array([row.inner_pixels for row in rows], np.int64),
        "inner_majority": named["inner_majority"],
        "inner_purity": _floats([row.inner_purity for row in rows]),
    }
    columns |= _areas_by_class(measured, names) | _agreement(measured, names) | _spraying(measured)
    columns["flags"] = ["; ".join(measured.flags(field)) for field in range(len(rows))]
    return columns


def _areas_by_class(measured: MeasuredFields, names: list[str]) -> dict[str, Column]:
    pairs = list(zip(measured.class_pixels, measured.pixel_areas_m2, strict=True))
    return {
        f"mapped_{name}_ha".replace(" ", "_").casefold(): np.array(
            [line[number] * area / M2_PER_HA for line, area in pairs]
        )
        for number, name in enumerate(names)
    }


def _agreement(measured: MeasuredFields, names: list[str]) -> dict[str, Column]:
    if measured.declared is None:
        return {}
    agrees = [
        None if declared is None or row.majority is None else declared == row.majority
        for declared, row in zip(measured.declared, measured.rows, strict=True)
    ]
    return {"declared_class": [_name(number, names) for number in measured.declared], "agrees": _booleans(agrees)}


def _spraying(measured: MeasuredFields) -> dict[str, Column]:
    if measured.weed is None:
        return {}
    return {
        "weed_pressure": _floats([weed.pressure for weed in measured.weed]),
        "spray": _booleans([weed.spray for weed in measured.weed]),
    }


def _name(number: int | None, names: list[str]) -> str | None:
    return None if number is None else names[number]


def _floats(values: list[float | None]) -> np.ma.MaskedArray[Any, Any]:
    filled = np.array([0.0 if value is None else value for value in values])
    return np.ma.MaskedArray(filled, mask=[value is None for value in values])


def _numbers(values: list[int | None]) -> np.ma.MaskedArray[Any, Any]:
    filled = np.array([0 if value is None else value for value in values], np.int32)
    return np.ma.MaskedArray(filled, mask=[value is None for value in values])


def _booleans(values: list[bool | None]) -> np.ma.MaskedArray[Any, Any]:
    filled = np.array([bool(value) for value in values], bool)
    return np.ma.MaskedArray(filled, mask=[value is None for value in values])
