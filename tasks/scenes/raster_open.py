"""GDAL opens one file with the drivers it is told: the one place where a raster is opened for reading."""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Collection, Sequence
from threading import Lock
from typing import Any

import rasterio
from rasterio import _env
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

# Formats of stored rasters; none that runs code, talks to a service or reads a database.
DRIVERS = ("GTiff", "COG", "VRT", "JP2OpenJPEG", "HFA", "ENVI", "PNG", "JPEG", "netCDF")
# Beside them what GDAL keeps in memory while it writes or draws.
_IN_MEMORY = ("MEM", "Memory")
_warning_lock = Lock()
# What rasterio raises; some of GDAL's errors reach it unwrapped.
GDAL_ERRORS = (RasterioError, CPLE_BaseError, OSError)


def open_with(path: str, drivers: Sequence[str]) -> Any:  # noqa: ANN401 - rasterio has no types
    """Open a raster with one of some drivers; errors are GDAL's own."""
    # catch_warnings changes the state of the whole process.
    with _warning_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        # rasterio.open takes one driver only.
        return DatasetReader(path, driver=list(drivers), sharing=False)


def forget_drivers(extension: str, kept: Collection[str]) -> None:
    """Take all drivers but some from the GDAL that a Python package brings along, for the rest of the process.

    A list of drivers holds for the file that is opened with it; what that file names, GDAL opens with all that it has.

    Args:
        extension: Path of a compiled module of the package, which GDAL is linked to.
        kept: Names of the drivers that stay.
    """
    gdal = ctypes.CDLL(extension)
    gdal.GDALGetDriver.restype, gdal.GDALGetDriver.argtypes = ctypes.c_void_p, [ctypes.c_int]
    gdal.GDALGetDriverShortName.restype, gdal.GDALGetDriverShortName.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
    gdal.GDALDeregisterDriver.restype, gdal.GDALDeregisterDriver.argtypes = None, [ctypes.c_void_p]
    for driver in [gdal.GDALGetDriver(number) for number in range(gdal.GDALGetDriverCount())]:
        if gdal.GDALGetDriverShortName(driver).decode() not in kept:
            gdal.GDALDeregisterDriver(driver)


# The first context registers all drivers that GDAL was built with, and no later one does so again.
with rasterio.Env():
    forget_drivers(_env.__file__, (*DRIVERS, *_IN_MEMORY))
