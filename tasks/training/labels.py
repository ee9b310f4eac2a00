"""Reference masks: small label files, read whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from tasks.errors import UnreadableSceneError
from tasks.scenes.raster.header import gdal_env, open_raster


def read_labels(path: Path) -> NDArray[np.integer[Any]]:
    """Read class numbers in the file's own array order.

    Args:
        path: A raster, or a NIfTI file.

    Returns:
        ``(rows, cols)``, or the file's three axes.

    Raises:
        UnreadableSceneError: When the file is damaged or holds no whole numbers.
    """
    values: NDArray[Any]
    if path.name.endswith((".nii", ".nii.gz")):
        values = np.asanyarray(nib.Nifti1Image.from_filename(path).dataobj)
    else:
        with gdal_env(), open_raster(str(path)) as dataset:
            values = dataset.read(1)
    labels: NDArray[np.int32] = np.rint(values).astype(np.int32)
    if not np.array_equal(labels, values):
        raise UnreadableSceneError(f"{path}: labels must be whole numbers; it holds fractions")
    return labels
