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
# A cache that follows the machine's memory would make peak memory follow it too.
GDAL_CACHE_BYTES = 256 << 20
# READDIR off and probing on: a folder of 100 000 scenes is never listed, but a .msk or .aux.xml beside a file
# is still found (with EMPTY_DIR it would not be, and pixels it masks would pass for observed).
GDAL_OPTIONS: dict[str, str | int] = {
    "GDAL_CACHEMAX": GDAL_CACHE_BYTES,
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",
    "GDAL_NUM_THREADS": "1",
    "GDAL_PAM_ENABLED": "YES",
    "GDAL_MAX_DATASET_POOL_SIZE": 100,
    # A server that is slow to begin is not waited for without end.
    "GDAL_HTTP_CONNECTTIMEOUT": 15,
    "GDAL_HTTP_TIMEOUT": 120,
    # What was replaced behind an address is read anew by a worker that had opened it before.
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/:/vsigs/",
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "GDAL_VRT_ENABLE_RAWRASTERBAND": "NO",
}
_warning_lock = Lock()
# What rasterio raises; some of GDAL's errors reach it unwrapped.
GDAL_ERRORS = (RasterioError, CPLE_BaseError, OSError)


def gdal_env() -> Any:  # noqa: ANN401 - rasterio has no types
    """Return the context that every call into GDAL runs in."""
    return rasterio.Env(**GDAL_OPTIONS)


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
