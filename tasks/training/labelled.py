"""Scenes with full labels, read whole, on the grid that a network is fitted on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import SceneError
from tasks.geometry import resample
from tasks.geometry.box import Box
from tasks.scenes.raster.scene import RasterScene
from tasks.scenes.volume.scene import VolumeScene
from tasks.training.labels import UNLABELLED, read_labels


@dataclass(frozen=True, kw_only=True)
class LabelledScene:
    """One scene with its reference.

    Attributes:
        scene: Its description.
        native_labels: Class numbers on the scene's own grid, -1 where there is none: what masks are scored against.
        image: Float32 ``(channels, *shape)``, physical values on the model grid.
        labels: Class numbers, ``shape``; -1 where there is none.
        valid: Which pixels were observed, ``shape``.
        site: The place or the patient.
        files_sha256: Of each file of the scene.
        labels_sha256: Of the file of labels.
    """

    scene: RasterScene | VolumeScene
    native_labels: NDArray[np.integer[Any]]
    image: NDArray[np.float32]
    labels: NDArray[np.integer[Any]]
    valid: NDArray[np.bool_]
    site: str = ""
    files_sha256: tuple[str, ...] = ()
    labels_sha256: str = ""

    @property
    def name(self) -> str:
        """The scene's id."""
        return self.scene.id

    @cached_property
    def pixels_sha256(self) -> str:
        """Of the values on the model grid, whatever file they came out of."""
        return hashlib.sha256(str(self.image.shape).encode() + self.image.tobytes()).hexdigest()


def read_labelled(
    scene: RasterScene | VolumeScene, labels: Path, n_classes: int, ignore: int | None = None
) -> LabelledScene:
    """Read a scene and its labels.

    Args:
        scene: As described for the model.
        labels: A file on the scene's native grid.
        n_classes: Numbers from 0 that labels may hold.
        ignore: A value that is no label.

    Raises:
        GridError: When labels and scene lie on two grids.
        SceneError: When a label is no class, or no pixel has one where the scene was observed.
    """
    native = read_labels(labels, scene, ignore)
    if native.max() >= n_classes:
        held = ", ".join(str(number) for number in np.unique(native) if number != UNLABELLED)
        raise SceneError(
            f"{scene.id}: labels {labels} hold {held}; classes are 0 to {n_classes - 1}. Number them so, or declare "
            "what is not observed as nodata, or name its value as training.ignore"
        )
    with scene.open() as reader:
        image, observed = reader.read(Box.of_shape(scene.frame.model_shape))
        invalid = reader.invalid(Box.of_shape(scene.frame.native_shape))
    valid = observed if invalid is None else observed & ~invalid
    on_grid = _on_model_grid(scene, native, n_classes)
    labelled = on_grid != UNLABELLED
    if not (valid & labelled).any():
        raise SceneError(
            f"{scene.id}: labels {labels} say nothing: no pixel has a class where the scene was observed. Label it, or "
            "leave it out by training.exclude"
        )
    return LabelledScene(
        scene=scene,
        native_labels=native,
        image=image,
        labels=on_grid.astype(np.int32),
        valid=valid,
    )


def _on_model_grid(
    scene: RasterScene | VolumeScene, native: NDArray[np.integer[Any]], n_classes: int
) -> NDArray[np.integer[Any]]:
    """Return for each model pixel the class with the largest interpolated share; -1 where that is of no label."""
    if scene.frame.is_identity:
        return native
    box = Box.of_shape(scene.frame.model_shape)
    origin = (0,) * native.ndim
    shares = [
        resample.to_model((native == label).astype(np.float32), origin, box, scene.frame)
        for label in (*range(n_classes), UNLABELLED)
    ]
    winners: NDArray[np.intp] = np.argmax(np.stack(shares), axis=0)
    return np.where(winners == n_classes, UNLABELLED, winners)
