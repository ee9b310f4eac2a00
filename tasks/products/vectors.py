"""Polygons and points with their columns, written as GeoPackage and GeoParquet."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from tasks.errors import ProductError
from tasks.files.room import blame_full_disk
from tasks.geometry.longitudes import bounding_box, turn_of
from tasks.scenes.vectors import OGR_ERRORS, Column, VectorTable

# GeoPackage holds times of its own making; with this the same tables give the same bytes.
_GPKG_DATE = "2000-01-01T00:00:00Z"


def write_gpkg(path: Path, *tables: VectorTable) -> None:
    """Write tables as the layers of one GeoPackage; the same tables give the same bytes.

    Args:
        path: Of the file; one that is there is replaced.
        tables: One per layer, at least one.

    Raises:
        DiskFullError: When there is no room for it.
        ProductError: When the file cannot be written otherwise.
    """
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _GPKG_DATE})
    # A journal that a killed attempt left would be rolled back into the new file.
    for left in (path, *(path.with_name(f"{path.name}-{ending}") for ending in ("journal", "wal", "shm"))):
        left.unlink(missing_ok=True)
    try:
        for table in tables:
            _write_layer(path, table)
    except OGR_ERRORS as error:
        blame_full_disk(path.name, path.parent)
        raise ProductError(f"{path}: cannot be written: {error}") from error


def _write_layer(path: Path, table: VectorTable) -> None:
    values, masks = zip(*(_split_nulls(column) for column in table.columns.values()), strict=True)
    with warnings.catch_warnings():
        # A table without CRS is allowed; this is pyogrio's remark on it.
        warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)
        pyogrio.raw.write(
            path,
            geometry=_wkb(table),
            field_data=values,
            fields=list(table.columns),
            field_mask=masks,
            layer=table.name,
            driver="GPKG",
            geometry_type=table.geometry_type,
            crs=table.crs_wkt,
            promote_to_multi=table.geometry_type.startswith("Multi"),
        )


def write_parquet(
    path: Path,
    table: VectorTable,
    required: Collection[str] = (),
    collection: Mapping[str, Any] | None = None,
) -> None:
    """Write a table as GeoParquet 1.1; the same table gives the same bytes.

    Args:
        path: Of the file; one that is there is replaced.
        table: What to write.
        required: Columns that have no nulls, as the schema then says; the geometry always is one of them.
        collection: What the file says of the table as a whole, as Vecorel wants it; None for nothing.

    Raises:
        DiskFullError: When there is no room for it.
        ProductError: When the file cannot be written otherwise.
    """
    arrays = {name: _arrow(column) for name, column in table.columns.items()}
    arrays["geometry"] = pa.array(list(_wkb(table)), pa.binary())
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": _geometry_facts(table)}}
    metadata = {"geo": json.dumps(geo, sort_keys=True)}
    if collection is not None:
        metadata["collection"] = json.dumps(collection, sort_keys=True)
    fields = [
        pa.field(name, array.type, nullable=name not in {*required, "geometry"} or array.null_count > 0)
        for name, array in arrays.items()
    ]
    schema = pa.schema(fields, metadata)
    try:
        pq.write_table(pa.table(list(arrays.values()), schema=schema), path, compression="zstd")
    except OSError as error:
        blame_full_disk(path.name, path.parent)
        raise ProductError(f"{path}: cannot be written: {error}") from error


def _wkb(table: VectorTable) -> NDArray[np.object_]:
    geometries = np.asarray(table.geometries, dtype=object)
    found: NDArray[np.object_] = np.asarray(shapely.to_wkb(geometries), dtype=object).reshape(len(geometries))
    return found


def _split_nulls(column: Column) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return values as an array of one dtype, and which of them are null."""
    if isinstance(column, np.ma.MaskedArray):
        return np.asarray(column.filled()), np.ma.getmaskarray(column)
    if isinstance(column, np.ndarray):
        return column, None
    null = np.array([value is None for value in column], dtype=bool)
    known = [value for value in column if value is not None]
    if not known or isinstance(known[0], str):
        return np.array(column, dtype=object).reshape(len(column)), null
    filler = type(known[0])()
    return np.array([filler if value is None else value for value in column]), null


def _arrow(column: Column) -> pa.Array:
    if isinstance(column, list) and any(isinstance(value, datetime) for value in column):
        return pa.array(column, pa.timestamp("ms", "UTC"))
    values, null = _split_nulls(column)
    if values.dtype.kind in "OU":
        return pa.array([None if value is None else str(value) for value in values], pa.string(), mask=null)
    return pa.array(values, mask=null, from_pandas=True)


def _geometry_facts(table: VectorTable) -> dict[str, Any]:
    types = sorted({geometry.geom_type for geometry in table.geometries if geometry is not None})
    facts = {
        "encoding": "WKB",
        "geometry_types": types,
        "crs": None if table.crs_wkt is None else CRS.from_wkt(table.crs_wkt).to_json_dict(),
    }
    bounds = bounding_box(table.geometries, turn_of(table.crs_wkt))
    return facts if bounds is None else facts | {"bbox": list(bounds)}
