"""Writes a series as an uncompressed NIfTI file, slice by slice. Runs in the child process only."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header
from numpy.typing import NDArray

from tasks.dicom.instance import Instance, PixelLayout
from tasks.dicom.pixels import decoded, decoded_colours
from tasks.dicom.series import Series
from tasks.geometry.raster_grid import MILLIMETRES, UNIT_TAG

_SCANNER = 1
_MILLIMETRES = 2
_HEADER_BYTES = 352
_INTEGERS = ("uint8", "int16", "uint16", "int32", "uint32")


@dataclass(frozen=True)
class _Stored:
    """How the file stores values.

    Attributes:
        dtype: Of its numbers.
        slope: Values are ``slope * stored + intercept``.
        intercept: See ``slope``.
        is_physical: Whether numbers are the values themselves: slices have scalings of their own.
    """

    dtype: np.dtype[Any]
    slope: float = 1.0
    intercept: float = 0.0
    is_physical: bool = False


def write_series(series: Series, destination: Path, factor: float = 1.0) -> None:
    """Write a volume on the grid of ``Series.affine_mm``; the file is complete when it has its name.

    Numbers stay as they are stored where all slices have one scaling, which the header then carries; otherwise values
    are written as float32.

    Args:
        series: What to write.
        destination: A ``.nii`` file.
        factor: To multiply values by, such as that of SUV.

    Raises:
        SeriesError: When pixels cannot be decoded.
    """
    stored = _storage(series, factor)
    part = destination.with_suffix(".part")
    with part.open("wb") as sink:
        sink.write(_header(series, stored))
        for plane in _planes(series, stored, factor):
            # Columns count up first, then rows from the bottom: file order of NIfTI.
            sink.write(np.ascontiguousarray(plane[::-1]).tobytes())
        sink.flush()
        os.fsync(sink.fileno())
    part.replace(destination)


def look_at(series: Series, budget_s: float) -> dict[str, Any]:
    """Decode slices for as long as time allows.

    Returns:
        ``n_slices`` decoded, and the ``lowest`` and ``highest`` value in them (None where no value is finite).

    Raises:
        SeriesError: When pixels cannot be decoded.
    """
    lowest, highest, n_slices, started = math.inf, -math.inf, 0, monotonic()
    for plane in _planes(series, _Stored(np.dtype(np.float32), is_physical=True), 1.0):
        finite = plane[np.isfinite(plane)]
        if finite.size:
            lowest, highest = min(lowest, float(finite.min())), max(highest, float(finite.max()))
        n_slices += 1
        if monotonic() - started > budget_s:
            break
    known = lowest <= highest
    return {"n_slices": n_slices, "lowest": lowest if known else None, "highest": highest if known else None}


def write_picture(instance: Instance, destination: Path | None) -> dict[str, Any]:
    """Decode a single picture, and write it as a GeoTIFF without a CRS.

    Its geotransform is in millimetres where the file is calibrated, and in pixels where it is not.

    Args:
        instance: Its file.
        destination: A ``.tif`` file; None to look only.

    Returns:
        ``lowest`` and ``highest`` value; None where no value is finite.

    Raises:
        SeriesError: When pixels cannot be decoded.
    """
    values = _picture(instance)
    finite = values[np.isfinite(values)]
    found = {"lowest": float(finite.min()), "highest": float(finite.max())} if finite.size else {}
    if destination is not None:
        import rasterio

        down, right = instance.calibrated_spacing_mm or (1.0, 1.0)
        part = destination.with_suffix(".part")
        bands, rows, cols = values.shape
        options = {"driver": "GTiff", "width": cols, "height": rows, "count": bands, "dtype": values.dtype.name}
        transform = rasterio.Affine(right, 0, 0, 0, -down, 0)
        with rasterio.open(part, "w", transform=transform, tiled=True, compress="deflate", **options) as sink:
            sink.write(values)
            if instance.calibrated_spacing_mm is not None:
                sink.update_tags(**{UNIT_TAG: MILLIMETRES})
        part.replace(destination)
    return {"lowest": None, "highest": None, **found}


def _picture(instance: Instance) -> NDArray[Any]:
    """Return values ``(bands, rows, cols)``: as stored where nothing rescales them, else float32."""
    layout, (plane,) = instance.layout, instance.slices
    if layout is None:
        raise ValueError("a picture without pixels")
    if layout.samples != 1:
        return np.ascontiguousarray(np.moveaxis(decoded_colours(instance.path), -1, 0))
    (values,) = decoded([plane], (layout.rows, layout.cols), instance.modality)
    if (plane.slope, plane.intercept) == (1.0, 0.0):
        return np.ascontiguousarray(values)[np.newaxis]
    return (values.astype(np.float64) * plane.slope + plane.intercept).astype(np.float32)[np.newaxis]


def _planes(series: Series, stored: _Stored, factor: float) -> Iterator[NDArray[Any]]:
    shape = series.shape[1:]
    planes = decoded(series.slices, (shape[0], shape[1]), series.modality)
    for plane, values in zip(series.slices, planes, strict=True):
        if stored.is_physical:
            scaled = values.astype(np.float64)
            scaled *= plane.slope * factor
            scaled += plane.intercept * factor
            with np.errstate(over="ignore"):
                yield scaled.astype(stored.dtype)
        else:
            yield values.astype(stored.dtype, copy=False)


def _storage(series: Series, factor: float) -> _Stored:
    scalings = {(plane.slope, plane.intercept) for plane in series.slices}
    name = _integer(series.layouts)
    if name is None or len(scalings) != 1 or factor != 1.0:
        return _Stored(np.dtype("<f4"), is_physical=True)
    slope, intercept = scalings.pop()
    # NIfTI keeps both as float32.
    if (float(np.float32(slope)), float(np.float32(intercept))) != (slope, intercept) or slope == 0:
        return _Stored(np.dtype("<f4"), is_physical=True)
    return _Stored(np.dtype(name).newbyteorder("<"), slope, intercept)


def _integer(layouts: tuple[PixelLayout, ...]) -> str | None:
    """Return the smallest type that holds the numbers of all files; None where there is none."""
    if any(layout.is_float for layout in layouts):
        return None
    lowest = min(-(1 << (layout.bits_allocated - 1)) if layout.is_signed else 0 for layout in layouts)
    highest = max((1 << (layout.bits_allocated - layout.is_signed)) - 1 for layout in layouts)
    for name in _INTEGERS:
        limits = np.iinfo(name)
        if limits.min <= lowest and highest <= limits.max:
            return name
    return None


def _header(series: Series, stored: _Stored) -> bytes:
    slices, rows, cols = series.shape
    affine = series.affine_mm
    header = Nifti1Header()
    header.set_data_dtype(stored.dtype)
    header.set_data_shape((cols, rows, slices))
    header.set_sform(affine, _SCANNER)
    # A sheared grid has no quaternion.
    header.set_qform(affine, 0 if series.is_tilted else _SCANNER, strip_shears=True)
    header["pixdim"][1:4] = np.linalg.norm(affine[:3, :3], axis=0)
    header["xyzt_units"] = _MILLIMETRES
    header["vox_offset"] = _HEADER_BYTES
    fields = header.structarr
    fields["scl_slope"], fields["scl_inter"] = stored.slope, stored.intercept
    fields["magic"] = b"n+1"
    return bytes(fields.tobytes()) + b"\0" * (_HEADER_BYTES - 348)
