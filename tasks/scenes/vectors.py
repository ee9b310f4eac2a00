"""Polygons and points with their columns, read from vector files."""

from __future__ import annotations

import json
import warnings
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
from tasks.scenes.vector_formats import GEOJSON, require_vector_file

Column: TypeAlias = NDArray[Any] | list[Any]
GeometryType: TypeAlias = Literal["Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon"]
# Where a feature of GeoJSON may have a name of its own.
_ID = "id"
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
        remarks: What a reader has to know of how the file was read.
    """

    name: str
    crs_wkt: str | None
    geometries: NDArray[np.object_]
    columns: dict[str, Column]
    geometry_type: GeometryType = "MultiPolygon"
    remarks: tuple[str, ...] = ()

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
        layers = [str(name) for name, _ in pyogrio.list_layers(path)]
        name = layer or layers[0]
        with warnings.catch_warnings():
            # Said below, once for all of them.
            warnings.filterwarnings("ignore", "Non closed ring detected", RuntimeWarning)
            meta, numbers, geometries, fields = pyogrio.raw.read(
                path, layer=name, datetime_as_string=True, return_fids=True
            )
    except OGR_ERRORS as error:
        raise _unread(path, error) from error
    if geometries is None:
        raise PolygonError(f"{path}: layer '{name}' is a table without geometries. Give a layer of polygons or points")
    columns: dict[str, Column] = {
        name: _told(column) for name, column in zip(meta["fields"].tolist(), fields, strict=True)
    }
    if Path(path).suffix.lower() in GEOJSON and _ID not in columns and _are_own(numbers):
        columns[_ID] = numbers
    kind = meta["geometry_type"].removesuffix(" Z").removesuffix(" M")
    shapes, remarks = _shapes(geometries)
    if layer is None and len(layers) > 1:
        remarks += (f"holds {len(layers)} layers ({', '.join(layers[:5])}); '{name}', the first, was read",)
    return VectorTable(
        name=name, crs_wkt=_wkt(meta["crs"]), geometries=shapes, columns=columns, geometry_type=kind, remarks=remarks
    )


def _unread(path: str | Path, error: Exception) -> PolygonError:
    # Behind a semicolon GDAL advises what cannot be done here.
    told = str(error).split(";", 1)[0].rstrip(". ").removeprefix(f"'{path}' ")
    return PolygonError(f"{path}: cannot be read: {told}. Give a vector file such as .gpkg or .geojson")


def _are_own(numbers: NDArray[np.int64]) -> bool:
    """Tell whether numbers of features are the file's, and not the count that GDAL makes where it has none."""
    return not any(np.array_equal(numbers, np.arange(start, start + len(numbers))) for start in (0, 1))


def _shapes(stored: NDArray[np.object_]) -> tuple[NDArray[np.object_], tuple[str, ...]]:
    """Return geometries, none where a feature's is damaged, and remarks on those that were mended or are damaged."""
    # Of numbers that are none NumPy would warn.
    with np.errstate(invalid="ignore"):
        sound = shapely.from_wkb(stored, on_invalid="ignore")
        shapes = shapely.from_wkb(stored, on_invalid="fix")
    coordinates, of = shapely.get_coordinates(shapes, return_index=True)
    shapes[np.unique(of[~np.isfinite(coordinates).all(axis=1)])] = None
    given = np.array([value is not None for value in stored], bool)
    gone = shapely.is_missing(shapes)
    closed = int((given & shapely.is_missing(sound) & ~gone).sum())
    lost = int((given & gone).sum())
    remarks = []
    if closed:
        remarks.append(f"{closed} features have rings that do not end where they begin; they were closed")
    if lost:
        remarks.append(f"{lost} features have a damaged geometry, which was left out")
    return shapes, tuple(remarks)


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
        raise _unread(path, error) from error
    return found


def _read_parquet(path: Path) -> VectorTable:
    try:
        table = pq.read_table(path)
        geo = from_json((table.schema.metadata or {})[b"geo"])
        primary = geo["primary_column"]
        facts = geo["columns"][primary]
        geometries, remarks = _shapes(np.array(table[primary].to_pylist(), dtype=object))
        # GeoParquet 1.1, "crs": left out it is OGC:CRS84; null it is not known.
        crs = facts.get("crs", "OGC:CRS84")
        crs_wkt = None if crs is None else CRS.from_user_input(crs).to_wkt()
    except (OSError, pa.ArrowException, LookupError, ValueError, TypeError, AttributeError, CRSError,
            shapely.GEOSException) as error:  # fmt: skip
        raise PolygonError(f"{path}: not GeoParquet: {error}. Give a file with WKB geometries") from error
    columns: dict[str, Column] = {
        name: _told(table[name].to_pylist()) for name in table.column_names if name not in {primary, "bbox"}
    }
    return VectorTable(name=path.stem, crs_wkt=crs_wkt, geometries=geometries, columns=columns, remarks=remarks)


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
