"""Reference masks: small label files, read whole."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import GridError
from tasks.geometry.box import Box
from tasks.pairs.raster import coincide, describe_grid
from tasks.scenes.class_numbers import class_numbers, rescaled
from tasks.scenes.raster.header import gdal_env, open_raster, read_header
from tasks.scenes.raster.scene import RasterScene
from tasks.scenes.volume.scene import SAME_VOXELS, VolumeScene, apart_voxels, describe_volume

UNLABELLED = -1
_VOLUMES = (".nii", ".nii.gz")


def read_labels(
    path: Path, scene: RasterScene | VolumeScene | None = None, ignore: int | None = None
) -> NDArray[np.int32]:
    """Read class numbers.

    Args:
        path: A raster, or a NIfTI file.
        scene: What they are labels of; None for the file by itself.
        ignore: A value that is no label, beside what the file declares.

    Returns:
        ``(rows, cols)``; the axes of the scene, or the file's three. -1 where the file declares that nothing was
        observed: nodata of a raster, what is not finite, what a product of swathe says of itself.

    Raises:
        GridError: When scene and labels lie on two grids. A raster of labels without a place need have the same shape.
        UnreadableSceneError: When the file is damaged.
        UnsupportedSceneError: When it holds no whole numbers.
    """
    if path.name.casefold().endswith(_VOLUMES):
        return _of_volume(path, scene if isinstance(scene, VolumeScene) else None, ignore)
    if isinstance(scene, RasterScene):
        _refuse_another_grid(path, scene)
    with gdal_env(), open_raster(str(path)) as dataset:
        values, observed = dataset.read(1), dataset.read_masks(1) > 0
        values = rescaled(values, dataset.scales[0], dataset.offsets[0])
    if values.dtype.kind == "f":
        observed &= np.isfinite(values)
    return _labels(path, values, observed, ignore)


def _refuse_another_grid(path: Path, scene: RasterScene) -> None:
    labels = read_header(str(path)).grid
    placed = labels.crs_wkt is not None and scene.grid.crs_wkt is not None
    if labels.shape != scene.grid.shape or (placed and not coincide(labels, scene.grid)):
        raise GridError(
            f"{scene.id}: labels {path} lie on another grid than the scene. labels: {describe_grid(labels)}; scene: "
            f"{describe_grid(scene.grid)}. Resample the labels onto the scene's grid: gdalwarp -r near -t_srs -te -ts"
        )


def _of_volume(path: Path, scene: VolumeScene | None, ignore: int | None) -> NDArray[np.int32]:
    with tempfile.TemporaryDirectory(prefix="swathe-labels-") as spool:
        found = describe_volume(
            path.name,
            path,
            card_orientation=scene.codes if scene else "ijk",
            card_spacing_mm=None,
            spool_dir=Path(spool),
            like=scene,
        )
        apart = None if scene is None else apart_voxels(found, scene)
        if scene is not None and (apart is None or apart > SAME_VOXELS):
            raise GridError(
                f"{scene.id}: labels {path} lie on another grid than the volume: {found.frame.native_shape} voxels and "
                f"{scene.frame.native_shape}, {'of other lengths' if apart is None else f'{apart:.4g} voxels apart'}. "
                "Resample one onto the other's grid"
            )
        with found.open() as reader:
            values, observed = reader.native(Box.of_shape(found.frame.native_shape))
    if found.header.not_observed is not None:
        observed &= values != np.float32(found.header.not_observed)
    return _labels(path, values, observed, ignore)


def _labels(path: Path, values: NDArray[Any], observed: NDArray[np.bool_], ignore: int | None) -> NDArray[np.int32]:
    if ignore is not None:
        observed = observed & (values != ignore)
    labels: NDArray[np.int32] = class_numbers(str(path), values, observed).astype(np.int32)
    labels[~observed] = UNLABELLED
    return labels
