"""Opening rasters with GDAL: fixed settings, a list of allowed drivers, named errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from rasterio.enums import ColorInterp, MaskFlags

from tasks.errors import (
    OversizedSceneError,
    SceneError,
    UndeclaredError,
    UnreadableSceneError,
    UnsupportedSceneError,
)
from tasks.files.declared import is_local, require_remote
from tasks.geometry.raster_grid import IDENTITY, MILLIMETRES, UNIT_TAG, GroundControl, RasterGrid
from tasks.scenes.raster.dataset import DRIVERS, open_with
from tasks.scenes.raster.dataset import GDAL_ERRORS as GDAL_ERRORS
from tasks.scenes.raster.dataset import GDAL_OPTIONS as GDAL_OPTIONS
from tasks.scenes.raster.dataset import gdal_env as gdal_env
from tasks.scenes.raster.undeclared import (
    drivers_of,
    names_file,
    refuse_undeclared_files,
    refuse_undeclared_metadata,
    refuse_undeclared_names,
)

# Each of them costs memory and time by its header alone.
_MOST_BANDS = 4096


def open_raster(path: str) -> Any:  # noqa: ANN401 - rasterio has no types
    """Open a raster for windowed reads; call it inside ``gdal_env``.

    Raises:
        UnreadableSceneError: When no allowed driver can open it.
        UndeclaredError: When it names further files or URLs that nobody declared.
        OversizedSceneError: When it has more bands than anything that is measured from above.
    """
    if not is_local(path):
        require_remote(path)
    elif not Path(path).exists():
        raise UnreadableSceneError(f"{path}: no such file. Check the path, and the pattern under source.files")
    else:
        refuse_undeclared_names(path)
    try:
        dataset = open_with(path, drivers_of(path, available_drivers()))
    except (*GDAL_ERRORS, ValueError) as error:
        raise UnreadableSceneError(
            f"{path}: not a raster that can be read ({error}). Formats read: {', '.join(available_drivers())}"
        ) from error
    try:
        if dataset.count > _MOST_BANDS:
            raise OversizedSceneError(
                f"{path}: {dataset.count} bands; more than {_MOST_BANDS} are not read. Write several rasters of it"
            )
        refuse_undeclared_metadata(dataset, path)
        if is_local(path):
            refuse_undeclared_files(dataset, path)
    except SceneError:
        dataset.close()
        raise
    return dataset


@contextmanager
def opened_raster(path: str) -> Iterator[Any]:
    """Open a raster and name whatever GDAL finds wrong with it afterwards.

    Raises:
        UnreadableSceneError: When no allowed driver can open it, or it is damaged.
    """
    with gdal_env(), open_raster(path) as dataset:
        try:
            yield dataset
        except GDAL_ERRORS as error:
            raise UnreadableSceneError(f"{path}: damaged ({error}). Copy the file again from its source") from error


def available_drivers() -> tuple[str, ...]:
    """Return the allowed drivers that this build of GDAL has."""
    known = rasterio.env.getenv() and rasterio.Env().drivers()
    return tuple(name for name in DRIVERS if name in known) if known else DRIVERS


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a raster says about itself without a pixel being read.

    Attributes:
        descriptions: Of each band, '' where it has none.
        scales: GDAL's factor of each band.
        offsets: GDAL's summand of each band.
        tags: Of the dataset, and per band with the band's own.
        spectral: Numbers, from 1, of the bands that are not alpha.
    """

    path: str
    driver: str
    grid: RasterGrid
    dtypes: tuple[str, ...]
    descriptions: tuple[str, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    nodata: tuple[float | None, ...]
    masks: tuple[str, ...]
    tags: tuple[dict[str, str], ...]
    spectral: tuple[int, ...]


def read_header(path: str) -> Header:
    """Read the header of a raster.

    Raises:
        UnreadableSceneError: When no allowed driver can open it.
        UnsupportedSceneError: When its pixels are complex numbers.
    """
    with opened_raster(path) as dataset:
        if any(dtype.startswith("complex") for dtype in dataset.dtypes):
            raise UnsupportedSceneError(
                f"{path}: pixels are complex numbers. Write amplitude or intensity as float32 first"
            )
        tags = dataset.tags()
        return Header(
            path=path,
            driver=dataset.driver,
            grid=_grid(path, dataset, tags),
            dtypes=tuple(dataset.dtypes),
            descriptions=tuple(text or "" for text in dataset.descriptions),
            scales=tuple(float(scale) for scale in dataset.scales),
            offsets=tuple(float(offset) for offset in dataset.offsets),
            nodata=tuple(dataset.nodatavals),
            masks=tuple("+".join(flag.name for flag in flags) for flags in dataset.mask_flag_enums),
            tags=tuple({**tags, **dataset.tags(index)} for index in dataset.indexes),
            spectral=tuple(
                i for i, c in zip(dataset.indexes, dataset.colorinterp, strict=True) if c != ColorInterp.alpha
            ),
        )


def all_observed(dataset: Any, index: int, alpha_is_band: bool = False) -> bool:  # noqa: ANN401 - rasterio has no types
    """Tell whether a band has neither nodata nor a mask; nor alpha, but where that is a band like the others."""
    flags = dataset.mask_flag_enums[index - 1]
    return bool(flags == [MaskFlags.all_valid]) or (alpha_is_band and MaskFlags.alpha in flags)


def _grid(path: str, dataset: Any, tags: dict[str, str]) -> RasterGrid:  # noqa: ANN401 - rasterio has no types
    points, points_crs = dataset.gcps
    a, b, c, d, e, f = (float(value) for value in dataset.transform[:6])
    affine = (a, b, c, d, e, f)
    control = None
    if points and affine == IDENTITY:
        control = GroundControl(
            tuple((float(p.row), float(p.col), float(p.x), float(p.y), float(p.z or 0.0)) for p in points),
            points_crs.to_wkt() if points_crs else None,
        )
    crs = dataset.crs.to_wkt() if dataset.crs else None
    for told in (crs, None if control is None else control.crs_wkt):
        if told is not None and names_file(told):
            raise UndeclaredError(f"{path}: its CRS names a file. Give it a plain one (gdal_edit.py -a_srs EPSG:...)")
    return RasterGrid(
        rows=dataset.height,
        cols=dataset.width,
        affine=affine,
        crs_wkt=crs or None,
        area_or_point=tags.get("AREA_OR_POINT", "Area"),
        ground_control=control,
        rpcs=tuple(sorted(dataset.tags(ns="RPC").items())),
        is_millimetres=not crs and tags.get(UNIT_TAG) == MILLIMETRES,
    )
