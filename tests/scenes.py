"""Small files that flows are tried on."""

from pathlib import Path

import nibabel as nib
import numpy as np
import rasterio
from rasterio.transform import Affine


def write_raster(path: Path, image: np.ndarray, crs: str | None = "EPSG:32632", nodata: float | None = None) -> Path:
    """Write (bands, rows, cols) at 20 m."""
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff",
        "height": image.shape[1],
        "width": image.shape[2],
        "count": image.shape[0],
        "dtype": image.dtype.name,
        "crs": crs,
        "transform": Affine(20, 0, 500000, 0, -20, 5000000),
        "nodata": nodata,
    }
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(image)
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
