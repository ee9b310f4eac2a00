"""Labels of scenes, window by window, on the scene's own grid: rasters, NIfTI, polygons, RTSTRUCT and SEG."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from tasks.dicom.references import write_reference
from tasks.errors import GridError, UnsupportedSceneError
from tasks.geometry.box import Box
from tasks.jobs.training import TrainingSource
from tasks.pairs.raster import coincide, describe_grid
from tasks.scenes.class_numbers import class_numbers, rescaled
from tasks.scenes.raster.header import gdal_env, open_raster, read_header
from tasks.scenes.raster.scene import RasterScene
from tasks.scenes.volume.scene import SAME_VOXELS, VolumeScene, apart_voxels, describe_volume
from tasks.training.polygons import VECTORS, place_labels

UNLABELLED = -1
_VOLUMES = (".nii", ".nii.gz")


class Labels(Protocol):
    """Class numbers of a scene."""

    def read(self, box: Box) -> NDArray[np.int32]:
        """Return the class numbers of a window of the scene's native grid, -1 where there is none."""
        ...


@dataclass(frozen=True)
class RasterLabels:
    """A raster on the scene's grid.

    Attributes:
        path: Of the file.
        ignore: A value that is no label, beside what the file declares.
    """

    path: Path
    ignore: int | None = None

    def read(self, box: Box) -> NDArray[np.int32]:
        """Return the class numbers of a window, -1 where there is none."""
        (top, left), (rows, cols) = box.start, box.shape
        window = Window(left, top, cols, rows)
        with gdal_env(), open_raster(str(self.path)) as dataset:
            values, observed = dataset.read(1, window=window), dataset.read_masks(1, window=window) > 0
            values = rescaled(values, dataset.scales[0], dataset.offsets[0])
        if values.dtype.kind == "f":
            observed &= np.isfinite(values)
        return _labels(self.path, values, observed, self.ignore)


@dataclass(frozen=True)
class HeldLabels:
    """Labels of a volume, in memory.

    Attributes:
        values: Class numbers in the scene's axes, -1 where there is none.
    """

    values: NDArray[np.int32]

    def read(self, box: Box) -> NDArray[np.int32]:
        """Return the class numbers of a window, -1 where there is none."""
        return self.values[box.slices]


def open_labels(path: Path, scene: RasterScene | VolumeScene, source: TrainingSource) -> Labels:
    """Find out what a file of labels is, and whether it goes with its scene.

    Args:
        path: A raster, a vector file, a NIfTI file, an RTSTRUCT or a SEG.
        scene: What they are labels of.
        source: What the job says of labels.

    Raises:
        GridError: When scene and labels lie on two grids. A raster of labels without a place need have the same shape.
        PolygonError: When polygons cannot be laid on the scene, or say no class.
        UnreadableSceneError: When the file is damaged.
        UnsupportedSceneError: When it holds no whole numbers, or no structures that the job names.
    """
    if isinstance(scene, VolumeScene):
        if path.name.casefold().endswith(_VOLUMES):
            return HeldLabels(_of_volume(path, scene, source.ignore))
        return HeldLabels(_of_structures(path, scene, source))
    if path.suffix.casefold() in VECTORS:
        return place_labels(path, scene, source)
    _refuse_another_grid(path, scene)
    return RasterLabels(path, source.ignore)


def read_labels(path: Path) -> NDArray[np.int32]:
    """Read a raster or a NIfTI file by itself.

    Returns:
        ``(rows, cols)``, or the file's three axes. -1 where the file declares that nothing was observed: nodata of a
        raster, what is not finite, what a product of swathe says of itself.

    Raises:
        UnreadableSceneError: When the file is damaged.
        UnsupportedSceneError: When it holds no whole numbers.
    """
    if path.name.casefold().endswith(_VOLUMES):
        return _of_volume(path, None, None)
    return RasterLabels(path).read(Box.of_shape(read_header(str(path)).grid.shape))


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


def _of_structures(path: Path, scene: VolumeScene, source: TrainingSource) -> NDArray[np.int32]:
    """Return the structures that a job's classes name; all, by their own numbers, where it names none."""
    found = np.zeros(scene.frame.native_shape, np.int32)
    with tempfile.TemporaryDirectory(prefix="swathe-labels-") as scratch:
        for name, number in source.classes.items() or {"": None}.items():
            written = Path(scratch) / "labels.nii"
            write_reference(
                path,
                scene.header.file_shape,
                affine_mm=scene.header.affine_mm,
                destination=written,
                wanted=name if number is not None else None,
            )
            here = _of_volume(written, scene, None)
            if number is not None:
                here = np.where(here > 0, np.int32(number), 0)
            both = (here > 0) & (found > 0)
            if both.any():
                raise UnsupportedSceneError(
                    f"{scene.id}: structures of two classes overlap in {int(both.sum())} voxels of {path}. Name others "
                    "in training.classes"
                )
            found = np.maximum(found, here)
    found[found == 0] = UNLABELLED if source.unmarked is None else source.unmarked
    return found


def _labels(path: Path, values: NDArray[Any], observed: NDArray[np.bool_], ignore: int | None) -> NDArray[np.int32]:
    if ignore is not None:
        observed = observed & (values != ignore)
    labels: NDArray[np.int32] = class_numbers(str(path), values, observed).astype(np.int32)
    labels[~observed] = UNLABELLED
    return labels
