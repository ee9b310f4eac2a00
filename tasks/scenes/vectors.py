"""Polygons and points with their columns, read from vector files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio import _io
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import CRS
from pyproj.exceptions import CRSError

from models.parsed import from_json
from tasks.errors import PolygonError
from tasks.scenes.raster.dataset import forget_drivers
from tasks.scenes.vector_formats import require_vector_file

Column: TypeAlias = NDArray[Any] | list[Any]
GeometryType: TypeAlias = Literal["Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon"]
# What pyogrio raises of files.
OGR_ERRORS = (DataSourceError, DataLayerError, OSError, ValueError)
# pyogrio brings a GDAL of its own.
forget_drivers(_io.__file__, ("GPKG", "GeoJSON", "ESRI Shapefile", "FlatGeobuf", "MEM", "Memory"))


@dataclass(frozen=True, kw_only=True)
class VectorTable:
    """Features of one layer.

    Attributes:
        name: Of the layer.
        crs_wkt: Of the geometries; None where it is not known.
        geometries: One shapely geometry per feature.
        columns: By name, as many values each; None, NaN and masked values are null. An array keeps its dtype where
            there are no features; an empty list is text.
        geometry_type: What the layer declares; ``Multi`` types hold single geometries as well.
    """

    name: str
    crs_wkt: str | None
    geometries: NDArray[np.object_]
    columns: dict[str, Column]
    geometry_type: GeometryType = "MultiPolygon"

    def __len__(self) -> int:
        return len(self.geometries)


def read_vectors(path: str | Path, layer: str | None = None) -> VectorTable:
    """Read a layer of a GeoPackage, GeoJSON, Shapefile, FlatGeobuf or GeoParquet file.

    Args:
        path: Of the file.
        layer: Its name; the first layer where left out.

    Raises:
        PolygonError: When the file cannot be read, or holds no geometries.
        UndeclaredError: When it would lead to another file or a URL.
    """
    require_vector_file(Path(path))
    if Path(path).suffix.lower() in {".parquet", ".geoparquet"}:
        return _read_parquet(Path(path))
    try:
        name = layer or str(pyogrio.list_layers(path)[0][0])
        meta, _, geometries, fields = pyogrio.raw.read(path, layer=name, datetime_as_string=True)
    except OGR_ERRORS as error:
        raise PolygonError(f"{path}: cannot be read: {error}. Give a vector file such as .gpkg or .geojson") from error
    if geometries is None:
        raise PolygonError(f"{path}: layer '{name}' is a table without geometries. Give a layer of polygons or points")
    columns: dict[str, Column] = {
        name: _told(column) for name, column in zip(meta["fields"].tolist(), fields, strict=True)
    }
    kind = meta["geometry_type"].removesuffix(" Z").removesuffix(" M")
    return VectorTable(
        name=name,
        crs_wkt=_wkt(meta["crs"]),
        geometries=shapely.from_wkb(geometries),
        columns=columns,
        geometry_type=kind,
    )


def column_names(path: str | Path) -> list[str]:
    """Return the names of the columns of a vector file's first layer, without its features.

    Raises:
        PolygonError: When the file cannot be read.
        UndeclaredError: When it would lead to another file or a URL.
    """
    require_vector_file(Path(path))
    if Path(path).suffix.lower() in {".parquet", ".geoparquet"}:
        return list(_read_parquet(Path(path)).columns)
    try:
        found: list[str] = pyogrio.read_info(path)["fields"].tolist()
    except OGR_ERRORS as error:
        raise PolygonError(f"{path}: cannot be read: {error}. Give a vector file such as .gpkg or .geojson") from error
    return found


def _read_parquet(path: Path) -> VectorTable:
    try:
        table = pq.read_table(path)
        geo = from_json((table.schema.metadata or {})[b"geo"])
        primary = geo["primary_column"]
        facts = geo["columns"][primary]
        geometries = shapely.from_wkb(np.array(table[primary].to_pylist(), dtype=object))
        # GeoParquet 1.1, "crs": left out it is OGC:CRS84; null it is not known.
        crs = facts.get("crs", "OGC:CRS84")
        crs_wkt = None if crs is None else CRS.from_user_input(crs).to_wkt()
    except (OSError, pa.ArrowException, LookupError, ValueError, TypeError, AttributeError, CRSError,
            shapely.GEOSException) as error:  # fmt: skip
        raise PolygonError(f"{path}: not GeoParquet: {error}. Give a file with WKB geometries") from error
    columns: dict[str, Column] = {
        name: _told(table[name].to_pylist()) for name in table.column_names if name not in {primary, "bbox"}
    }
    return VectorTable(name=path.stem, crs_wkt=crs_wkt, geometries=geometries, columns=columns)


def _told(column: Column) -> Column:
    """Return a column whose lists and structures are JSON: not every format that is written has them."""
    nested = (list, dict, np.ndarray)
    if isinstance(column, np.ndarray) and column.dtype != object:
        return column
    if not any(isinstance(value, nested) for value in column):
        return column
    return [json.dumps(value, default=_plain) if isinstance(value, nested) else value for value in column]


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a list holds
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def _wkt(crs: str | None) -> str | None:
    return None if crs is None else CRS.from_user_input(crs).to_wkt()
