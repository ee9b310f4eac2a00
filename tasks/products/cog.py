"""Class maps and confidence as cloud-optimized GeoTIFFs on the input's grid."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.shutil import copy as copy_raster
from rasterio.transform import Affine
from rasterio.windows import Window

from models.card import ClassEntry
from tasks.errors import ProductError
from tasks.files.room import blame_full_disk
from tasks.geometry.box import Box, split
from tasks.geometry.raster_grid import IDENTITY, MILLIMETRES, UNIT_TAG, RasterGrid
from tasks.products.attributes import sidecar_of, write_attributes
from tasks.scenes.raster.header import GDAL_ERRORS, gdal_env, read_header

ReadBlock: TypeAlias = Callable[[Box], NDArray[np.unsignedinteger[Any]]]
# Internal tile of the product; windows are whole tiles, or compressed tiles would be written twice.
TILE = 512
_WINDOW = (TILE, 8 * TILE)
_MAX_BYTE_CLASSES = 255
# Threads change no byte.
_COMPRESSING = 2


@dataclass(frozen=True)
class RasterProductSpec:
    """What a raster product is.

    Attributes:
        grid: The input's.
        kind: ``mask`` holds class numbers, ``confidence`` 0-100, ``instances`` ids from 1 and 0 where there is none.
        classes: Names and colours of the classes, in order; empty for confidence.
        tags: Provenance, by name.
    """

    grid: RasterGrid
    kind: Literal["mask", "confidence", "instances"] = "mask"
    classes: tuple[ClassEntry, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def dtype(self) -> str:
        """``uint8``, or ``uint16`` above 255 classes; ids are ``uint32``."""
        if self.kind == "instances":
            return "uint32"
        return "uint16" if len(self.classes) > _MAX_BYTE_CLASSES else "uint8"

    @property
    def not_observed(self) -> int:
        """The value of pixels that were not observed, the largest: 255, 65535 above 255 classes, 4294967295 of ids."""
        return int(np.iinfo(self.dtype).max)


def write_cog(read_block: ReadBlock, destination: Path, spec: RasterProductSpec) -> None:
    """Write a product window by window; memory does not grow with the raster.

    Tiles of 512, DEFLATE; overviews by mode, for confidence by average, blind to what was not observed. Class
    names go to a raster attribute table in ``<destination>.aux.xml``. The same values give the same bytes.

    Args:
        read_block: Returns the values ``(rows, cols)`` of a window; windows come in row-major order, once each.
        destination: Path of the GeoTIFF; its folder exists.
        spec: What to write.

    Raises:
        DiskFullError: When there is no room for it.
        ProductError: When the file cannot be written or does not verify.
    """
    with _scratch(destination) as folder:
        plain = folder / "plain.tif"
        try:
            # A grid without CRS is allowed; catch_warnings keeps rasterio's remark out of logs.
            with gdal_env(), warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                _write_plain(read_block, plain, spec)
                _write_final(plain, destination, spec)
        except GDAL_ERRORS as error:
            blame_full_disk(destination.name, folder)
            raise ProductError(f"{destination}: cannot be written: {error}") from error
    _complete_and_verify(destination, spec)


@contextmanager
def _scratch(destination: Path) -> Iterator[Path]:
    """Yield a folder beside a file; always the same, so that nothing stays of an attempt that died with its worker."""
    folder = destination.with_name(f".{destination.name}.scratch")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_plain(read_block: ReadBlock, path: Path, spec: RasterProductSpec) -> None:
    grid = spec.grid
    profile = {
        "driver": "GTiff",
        "height": grid.rows,
        "width": grid.cols,
        "count": 1,
        "dtype": spec.dtype,
        "nodata": spec.not_observed,
        "tiled": True,
        "blockxsize": TILE,
        "blockysize": TILE,
        "compress": "deflate",
        "zlevel": 1,
        "bigtiff": "IF_SAFER",
        **_georeference(grid),
    }
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.update_tags(**spec.tags)
        if grid.crs_wkt is not None:
            # Without a CRS this key would read back as a CRS of its own.
            dataset.update_tags(AREA_OR_POINT=grid.area_or_point)
        if grid.is_millimetres:
            dataset.update_tags(**{UNIT_TAG: MILLIMETRES})
        if grid.rpcs:
            dataset.update_tags(ns="RPC", **dict(grid.rpcs))
        dataset.set_band_description(1, spec.kind)
        if spec.classes:
            dataset.write_colormap(1, _colours(spec))
        for box in split(grid.shape, _WINDOW):
            values = read_block(box).astype(spec.dtype, copy=False)
            dataset.write(values, 1, window=Window.from_slices(*box.slices))


def _write_final(plain: Path, destination: Path, spec: RasterProductSpec) -> None:
    copy_raster(
        str(plain),
        str(destination),
        driver="COG",
        BLOCKSIZE=TILE,
        COMPRESS="DEFLATE",
        LEVEL=6,
        PREDICTOR="NO",
        BIGTIFF="IF_SAFER",
        NUM_THREADS=_COMPRESSING,
        OVERVIEW_RESAMPLING="AVERAGE" if spec.kind == "confidence" else "MODE",
    )


def _georeference(grid: RasterGrid) -> dict[str, Any]:
    if grid.ground_control is not None:
        control = grid.ground_control
        points = [GroundControlPoint(row=r, col=c, x=x, y=y, z=z) for r, c, x, y, z in control.points]
        return {"gcps": points, "crs": CRS.from_wkt(control.crs_wkt) if control.crs_wkt else None}
    affine = {} if grid.affine == IDENTITY else {"transform": Affine(*grid.affine)}
    return {**affine, "crs": CRS.from_wkt(grid.crs_wkt) if grid.crs_wkt else None}


def _colours(spec: RasterProductSpec) -> dict[int, tuple[int, int, int, int]]:
    table = {number: (*bytes.fromhex(entry.colour[1:]), 255) for number, entry in enumerate(spec.classes)}
    colours = {number: (r, g, b, alpha) for number, (r, g, b, alpha) in table.items()}
    return {**colours, spec.not_observed: (0, 0, 0, 0)}


def _complete_and_verify(path: Path, spec: RasterProductSpec) -> None:
    # GDAL writes one of its own where GeoTIFF keys cannot say a CRS.
    sidecar_of(path).unlink(missing_ok=True)
    crs_kept = _same_crs(read_header(str(path)).grid.crs_wkt, spec.grid.crs_wkt)
    write_attributes(path, spec.classes, None if crs_kept else spec.grid.crs_wkt)
    header = read_header(str(path))
    grid = header.grid
    found = {
        "shape": grid.shape == spec.grid.shape,
        "affine or ground control points": grid.lies_on(spec.grid),
        "CRS": _same_crs(grid.crs_wkt, spec.grid.crs_wkt),
        "dtype": header.dtypes == (spec.dtype,),
        "nodata": header.nodata == (spec.not_observed,),
        "RPCs": _same_rpcs(grid.rpcs, spec.grid.rpcs),
    }
    wrong = [name for name, right in found.items() if not right]
    if wrong:
        raise ProductError(
            f"{path}: written, but {', '.join(wrong)} read back otherwise than the input's. "
            f"Please report this grid: {spec.grid}"
        )


def _same_rpcs(one: tuple[tuple[str, str], ...], other: tuple[tuple[str, str], ...]) -> bool:
    """Compare numbers: a file may write 100 as 100.0, and add what the standard says of what is left out."""
    found = {key: [float(number) for number in text.split()] for key, text in one}
    return all(
        np.allclose(found.get(key, []), [float(number) for number in text.split()], rtol=1e-12) for key, text in other
    )


def _same_crs(one: str | None, other: str | None) -> bool:
    if one is None or other is None or one == other:
        return one == other
    return bool(CRS.from_wkt(one) == CRS.from_wkt(other))
