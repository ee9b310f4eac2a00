"""Generated scenes with a known answer; every name says ``synthetic``."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine
from rasterio.windows import Window
from scipy.ndimage import gaussian_filter

_TEXTURE = 1024
_ROWS = 512
_PIXEL_DEGREES = 0.00017966
# Means of the sample fires: red, green, blue (8 bit), B8 and B12 (reflectance x 10000), dNBR x 1000.
_UNBURNED = np.array([95, 85, 62, 2300, 1900, 20])
_BURNED = np.array([62, 55, 47, 1300, 2100, 420])
_SPREAD = np.array([14, 11, 9, 260, 220, 45])


def write_synthetic_fire(folder: Path, name: str, side: int, seed: int = 0) -> tuple[Path, Path, Path]:
    """Write a raster of ``side`` by ``side`` pixels with elliptic burned areas, laid out as the job ``fire`` expects.

    Values are of a kind with those of real fires, but nothing of this is a picture of the Earth.

    Args:
        folder: Gets ``post_fire``, ``dnbr`` and ``masks``.
        name: Of the files.
        side: Rows and columns.
        seed: Of everything random.

    Returns:
        The post-fire raster, the dNBR raster and the reference mask.
    """
    rng = np.random.default_rng(seed)
    texture = _texture(rng)
    fires = _ellipses(rng, side)
    paths = {role: folder / role / f"{name}.tif" for role in ("post_fire", "dnbr", "masks")}
    for path in paths.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    with (
        rasterio.open(paths["post_fire"], "w", **_profile(side, 5, "uint16")) as post,
        rasterio.open(paths["dnbr"], "w", **_profile(side, 1, "int16")) as dnbr,
        rasterio.open(paths["masks"], "w", **_profile(side, 1, "uint8")) as masks,
    ):
        dnbr.scales = (0.001,)
        for row in range(0, side, _ROWS):
            rows = np.arange(row, min(row + _ROWS, side))
            burned = _inside(fires, rows, side)
            bands = _bands(texture, burned, rows)
            window = Window(0, row, side, len(rows))
            post.write(np.clip(bands[:5], 1, 65535).astype(np.uint16), window=window)
            dnbr.write(bands[5].astype(np.int16), 1, window=window)
            masks.write(burned.astype(np.uint8), 1, window=window)
    return paths["post_fire"], paths["dnbr"], paths["masks"]


def _texture(rng: np.random.Generator) -> NDArray[np.float32]:
    noise = rng.standard_normal((6, _TEXTURE, _TEXTURE))
    smooth = np.stack([gaussian_filter(band, 4, mode="wrap") for band in noise])
    textured = smooth / smooth.std(axis=(1, 2), keepdims=True) + 0.3 * noise
    bands: NDArray[np.float32] = (textured * _SPREAD[:, None, None]).astype(np.float32)
    return bands


def _ellipses(rng: np.random.Generator, side: int) -> NDArray[np.float64]:
    """Return centre row, centre column and both radii of each burned area."""
    count = max(1, (side // 512) ** 2 // 2)
    radii = rng.uniform(0.12, 0.3, (count, 2)) * min(side, 512)
    return np.hstack([rng.uniform(0.2, 0.8, (count, 2)) * side, radii])


def _inside(fires: NDArray[np.float64], rows: NDArray[np.intp], side: int) -> NDArray[np.bool_]:
    burned = np.zeros((len(rows), side), np.bool_)
    for centre_row, centre_col, radius_rows, radius_cols in fires:
        first, last = max(0, int(centre_col - radius_cols)), min(side, int(centre_col + radius_cols) + 1)
        cols = np.arange(first, last)
        distance = ((rows[:, None] - centre_row) / radius_rows) ** 2 + ((cols - centre_col) / radius_cols) ** 2
        burned[:, first:last] |= distance <= 1
    return burned


def _bands(texture: NDArray[np.float32], burned: NDArray[np.bool_], rows: NDArray[np.intp]) -> NDArray[np.float32]:
    repeats = -(-burned.shape[1] // _TEXTURE)
    noise = np.tile(texture[:, rows % _TEXTURE], (1, 1, repeats))[:, :, : burned.shape[1]]
    for band, unburned, burnt in zip(noise, _UNBURNED, _BURNED, strict=True):
        band += np.where(burned, np.float32(burnt), np.float32(unburned))
    return noise


def _profile(side: int, count: int, dtype: str) -> dict[str, object]:
    return {
        "driver": "GTiff",
        "height": side,
        "width": side,
        "count": count,
        "dtype": dtype,
        "crs": "EPSG:4326",
        "transform": Affine(_PIXEL_DEGREES, 0, -120.0, 0, -_PIXEL_DEGREES, 38.0),
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "compress": "lzw",
        "interleave": "pixel",
        "num_threads": "2",
        "bigtiff": "IF_SAFER",
    }


def write_synthetic_volume(folder: Path, name: str, seed: int = 0) -> tuple[Path, Path]:
    """Write a T1-like volume with one bright ellipsoid, and its mask.

    Returns:
        The volume and the reference mask.
    """
    rng = np.random.default_rng(seed)
    shape, affine = (110, 100, 36), np.diag([-0.977, -0.977, 3.27, 1.0])
    x, y, z = np.ogrid[tuple(slice(0, n) for n in shape)]
    body = ((x - 55) / 50) ** 2 + ((y - 50) / 45) ** 2 <= 1 + 0 * z
    tumour = ((x - 60) / 20) ** 2 + ((y - 45) / 16) ** 2 + ((z - 18) / 7) ** 2 <= 1
    noise = gaussian_filter(rng.standard_normal(shape), 1)
    image = (np.where(body, 300.0, 5.0) + np.where(tumour, 160.0, 0.0) + 40 * noise * body).clip(0)
    folder.mkdir(parents=True, exist_ok=True)
    scene, reference = folder / f"{name}.nii.gz", folder / f"{name}-mask.nii.gz"
    nib.save(nib.Nifti1Image(image.astype(np.float32), affine), scene)
    nib.save(nib.Nifti1Image(tumour.astype(np.uint8), affine), reference)
    return scene, reference
