"""Reference samples: points with the class that an interpreter or a visit found there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from tasks.analysis.crop.coordinates import chosen_crs, on_grid, refuse_if_not_degrees, share_swapped, to_pixels
from tasks.analysis.crop.field_polygons import plain
from tasks.errors import PolygonError, SampleError, SceneError
from tasks.geometry.raster_grid import RasterGrid
from tasks.scenes.tables import TableError, read_table
from tasks.scenes.vectors import read_vectors

Floats = NDArray[np.float64]
REFERENCE = "reference"
_DEGREES = (("lon", "lat"), ("longitude", "latitude"))
_KNOWN = {REFERENCE, "stratum", "stratum_area_ha", "inclusion_probability", "x", "y", *_DEGREES[0], *_DEGREES[1]}
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class ReferenceSamples:
    """Points on a map that have been interpreted.

    Attributes:
        rows: Row of the pixel that each point lies in.
        cols: Its column.
        reference: Class as written, never empty.
        strata: Stratum as written; None where the file has none.
        strata_ha: Area of each unit's stratum; None where the file does not say.
        inclusion: Probability with which each unit was drawn; None where the file does not say.
        remarks: What a reader has to know.
    """

    rows: NDArray[np.intp]
    cols: NDArray[np.intp]
    reference: tuple[str, ...]
    strata: tuple[str, ...] | None
    strata_ha: Floats | None
    inclusion: Floats | None
    remarks: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.reference)


def read_samples(path: str, grid: RasterGrid, crs: str | None = None) -> ReferenceSamples:
    """Read points and find their pixels.

    Args:
        path: A CSV with ``x`` and ``y`` (or ``lon`` and ``lat``) or a vector file of points; with a column
            ``reference`` and, where known, ``stratum``, ``stratum_area_ha`` and ``inclusion_probability``.
        grid: The map's.
        crs: The points' CRS where the file names none or a wrong one, or ``mask``.

    Raises:
        SampleError: When the file cannot be read, lacks a column or a CRS, or a point lies outside the map.
    """
    if grid.crs_wkt is None:
        raise SampleError(f"{path}: the map has no CRS, so no sample can be placed. Give the map its CRS")
    try:
        columns, x, y, own, remark = _read_any(path, crs, grid)
    except PolygonError as error:
        raise SampleError(str(error)) from error
    remarks = [f"{Path(path).name}: {remark}"] if remark else []
    if REFERENCE not in columns:
        raise SampleError(f"{path}: has no column '{REFERENCE}'. It has: {', '.join(columns) or 'none'}")
    answered = np.array([_text(value) is not None for value in columns[REFERENCE]], bool)
    if not answered.any():
        raise SampleError(f"{path}: no sample has been interpreted: the column '{REFERENCE}' is empty. Fill it in")
    if not answered.all():
        remarks.append(
            f"{Path(path).name}: {int((~answered).sum())} of {len(answered)} samples have no reference class; left out "
            "as if which ones are missing were chance"
        )
    rows, cols = to_pixels(x[answered], y[answered], own, grid)
    if not on_grid(rows, cols, grid).any():
        _refuse_swapped(path, share_swapped(x[answered], y[answered], own, grid))
    _refuse_outside(path, rows, cols=cols, grid=grid, numbers=np.flatnonzero(answered))
    kept = {
        name: [value for value, yes in zip(column, answered, strict=True) if yes] for name, column in columns.items()
    }
    return ReferenceSamples(
        rows=np.floor(rows).astype(np.intp),
        cols=np.floor(cols).astype(np.intp),
        reference=tuple(str(_text(value)) for value in kept[REFERENCE]),
        strata=_strata(path, kept),
        strata_ha=_numbers(path, kept, "stratum_area_ha"),
        inclusion=_inclusion(path, kept),
        remarks=tuple(remarks),
    )


def _read_any(path: str, crs: str | None, grid: RasterGrid) -> tuple[dict[str, list[Any]], Floats, Floats, CRS, str]:
    """Return columns, coordinates, their CRS and a remark on it."""
    stated: str | None
    if Path(path).suffix.lower() == ".csv":
        columns, x, y, stated = _read_csv(path)
        read: tuple[str, ...] = ()
    else:
        table = read_vectors(path)
        points = np.asarray(table.geometries, object)
        if len(points) and not np.all(shapely.get_type_id(points) == 0):
            raise SampleError(f"{path}: samples are points; it holds other shapes. Give one point per sample")
        x, y, stated, read = shapely.get_x(points), shapely.get_y(points), table.crs_wkt, table.remarks
        columns = _spelt_as_known({name: [plain(value) for value in column] for name, column in table.columns.items()})
    if not len(x):
        raise SampleError(f"{path}: holds no samples")
    try:
        own, remark = chosen_crs(path, stated, override=crs, grid=grid, key="samples_crs")
        refuse_if_not_degrees(path, own, x=x, y=y, grid=grid, key="samples_crs")
    except SceneError as error:
        raise SampleError(str(error)) from error
    return columns, x, y, own, "; ".join(filter(None, (*read, remark)))


def _read_csv(path: str) -> tuple[dict[str, list[Any]], Floats, Floats, str | None]:
    try:
        table = read_table(Path(path))
    except TableError as error:
        raise SampleError(f"{path}: {error}") from error
    columns = _spelt_as_known({name: [row[name] for row in table.rows] for name in table.columns})
    for east, north in (("x", "y"), *_DEGREES):
        if east in columns and north in columns:
            x, y = (_numbers(path, columns, name) for name in (east, north))
            if x is None or y is None:
                raise SampleError(f"{path}: columns {east} and {north} are empty")
            return columns, x, y, None if east == "x" else CRS.from_epsg(4326).to_wkt()
    raise SampleError(f"{path}: has no coordinates; give columns x and y, or lon and lat. It has: {', '.join(columns)}")


def _spelt_as_known(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Return columns by the names that are looked for, where a file has them in other letters, such as ``Lon``."""
    folded = Counter(name.casefold() for name in columns)
    meant = {
        name: name.casefold()
        for name in columns
        if name.casefold() in _KNOWN and name.casefold() not in columns and folded[name.casefold()] == 1
    }
    return {meant.get(name, name): values for name, values in columns.items()}


def _numbers(path: str, columns: dict[str, list[Any]], name: str) -> Floats | None:
    """Return a column of numbers; None where the column is not there or empty."""
    values = [_text(value) for value in columns.get(name, ())]
    if not any(value is not None for value in values):
        return None
    numbers = np.empty(len(values))
    for line, value in enumerate(values, start=1):
        try:
            numbers[line - 1] = float(value or "")
        except ValueError as error:
            is_comma = value is not None and value.count(",") == 1 and value.replace(",", "", 1).lstrip("+-").isdigit()
            why = "with a decimal comma. Write decimal points" if is_comma else "not a number"
            raise SampleError(f"{path}: sample {line}: {name} is '{value or ''}', {why}") from error
    if not np.isfinite(numbers).all():
        raise SampleError(f"{path}: {name} holds values that are not finite. Remove or mend those samples")
    return numbers


def _inclusion(path: str, columns: dict[str, list[Any]]) -> Floats | None:
    inclusion = _numbers(path, columns, "inclusion_probability")
    if inclusion is not None and np.any((inclusion <= 0) | (inclusion > 1)):
        raise SampleError(f"{path}: inclusion_probability is above 0 and at most 1; it holds other values")
    return inclusion


def _strata(path: str, columns: dict[str, list[Any]]) -> tuple[str, ...] | None:
    strata = [_text(value) for value in columns.get("stratum", ())]
    if not any(strata):
        return None
    if not all(strata):
        raise SampleError(f"{path}: some samples name a stratum and some do not. Name one for each, or for none")
    return tuple(str(name) for name in strata)


def _text(value: Any) -> str | None:  # noqa: ANN401 - a cell of any type
    """Return what a cell says; None where it is empty. Whole floats are written like whole numbers."""
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None


def _refuse_swapped(path: str, swapped: float) -> None:
    if swapped > 0.0:
        raise SampleError(
            f"{path}: no sample lies on the map, and {swapped:.0%} do when longitude and latitude are swapped. "
            "Exchange the two columns, or their names"
        )


def _refuse_outside(path: str, rows: Floats, cols: Floats, grid: RasterGrid, numbers: NDArray[np.intp]) -> None:
    outside = np.flatnonzero(~on_grid(rows, cols, grid))
    if len(outside):
        shown = ", ".join(str(numbers[k] + 1) for k in outside[:_SHOWN])
        more = ", ..." if len(outside) > _SHOWN else ""
        raise SampleError(
            f"{path}: {len(outside)} of {len(rows)} samples lie outside the map (lines {shown}{more}). Remove them, or "
            "say --samples-crs when their CRS is not what the file says"
        )
