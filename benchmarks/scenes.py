"""Generated inputs: cheap to write, full of values, the same every time."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import rasterio
from rasterio.transform import Affine
from rasterio.windows import Window

_ROWS = 512
_PIXEL_M = 10.0


def write_grey_raster(path: Path, side: int) -> None:
    """Write one band of uint8, ``side`` by ``side``, tiled and compressed; no part of it is left out."""
    rng = np.random.default_rng(0)
    stripe = np.tile(rng.integers(1, 255, (_ROWS, _ROWS), dtype=np.uint8), (1, -(-side // _ROWS)))[:, :side]
    profile = {
        "driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "uint8", "crs": "EPSG:32611",
        "transform": Affine(_PIXEL_M, 0, 400_000, 0, -_PIXEL_M, 4_200_000), "tiled": True,
        "blockxsize": 512, "blockysize": 512, "compress": "zstd", "zstd_level": 1, "bigtiff": "IF_SAFER",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as raster:
        for row in range(0, side, _ROWS):
            height = min(_ROWS, side - row)
            raster.write(stripe[:height], 1, window=Window(0, row, side, height))


def write_volume(path: Path, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> None:
    """Write an int16 volume, ``depth, rows, cols``, of noise over a smooth body."""
    rng = np.random.default_rng(0)
    depth, rows, cols = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    body = depth[:, None, None] ** 2 + rows[:, None] ** 2 + cols**2 < 1
    image = np.where(body, rng.normal(400, 90, shape), rng.normal(10, 4, shape)).clip(0).astype(np.int16)
    affine = np.diag([-spacing_mm[2], -spacing_mm[1], spacing_mm[0], 1.0])
    volume = nib.Nifti1Image(image.transpose(2, 1, 0), affine)
    volume.header.set_xyzt_units("mm")
    nib.save(volume, path)
