"""Small files that flows are tried on."""

from pathlib import Path

import nibabel as nib
import numpy as np
import rasterio
from rasterio.transform import Affine


def write_raster(
    path: Path,
    image: np.ndarray,
    crs: str | None = "EPSG:32632",
    nodata: float | None = None,
    transform: Affine = Affine(20, 0, 500000, 0, -20, 5000000),  # noqa: B008 - it cannot be changed
    **profile: object,
) -> Path:
    """Write (bands, rows, cols), by itself at 20 m."""
    path.parent.mkdir(parents=True, exist_ok=True)
    profile |= {
        "driver": "GTiff",
        "height": image.shape[1],
        "width": image.shape[2],
        "count": image.shape[0],
        "dtype": image.dtype.name,
        "crs": crs,
        "transform": transform,
        "nodata": nodata,
    }
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(image)
    return path


def derive_earlier(post: Path, dnbr: Path, path: Path) -> Path:
    """Write a picture before the fire from which the given dNBR follows.

    The sample data has none; SWIR, and what the eye sees, are taken to be those after the fire.
    """
    with rasterio.open(post) as dataset, rasterio.open(dnbr) as index:
        bands, profile = dataset.read().astype(np.float64), dataset.profile
        before = index.read(1).astype(np.float64) + (bands[3] - bands[4]) / (bands[3] + bands[4])
    bands[3] = bands[4] * (1 + before) / (1 - before)
    with rasterio.open(path, "w", **{**profile, "dtype": "float64"}) as dataset:
        dataset.write(bands)
    return path


def oblique_affine() -> np.ndarray:
    """A sheared-free, rotated affine with unequal spacing and a flipped axis."""
    angle = 0.3
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([-0.9, 0.9, 3.0])
    affine[:3, 3] = [40, -30, 7]
    return affine


def write_volume(path: Path, image: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """Write a NIfTI file whose sform and qform differ."""
    volume = nib.Nifti1Image(image, oblique_affine() if affine is None else affine)
    volume.header.set_xyzt_units("mm", "sec")
    volume.set_sform(volume.affine, code=1)
    shifted = volume.affine.copy()
    shifted[:3, 3] += 1
    volume.set_qform(shifted, code=4)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(volume, path)
    return path
