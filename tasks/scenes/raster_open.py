"""GDAL opens one file with the drivers it is told: the one place where a raster is opened for reading."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from threading import Lock
from typing import Any

from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

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
