"""Scenes with full labels, read whole, on the grid that a network is fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import SceneError
from tasks.geometry import resample
from tasks.geometry.box import Box
from tasks.scenes.raster.scene import RasterScene
from tasks.scenes.volume.scene import VolumeScene
from tasks.training.labels import read_labels


@dataclass(frozen=True)
class LabelledScene:
    """One scene with its reference.

    Attributes:
        scene: Its description.
        native_labels: Class numbers on the scene's own grid: what masks are scored against.
        image: Float32 ``(channels, *shape)``, physical values on the model grid.
        labels: Class numbers, ``shape``.
        valid: Which pixels count, ``shape``.
    """

    scene: RasterScene | VolumeScene
    native_labels: NDArray[np.integer[Any]]
    image: NDArray[np.float32]
    labels: NDArray[np.integer[Any]]
    valid: NDArray[np.bool_]

    @property
    def name(self) -> str:
        """The scene's id."""
        return self.scene.id


def read_labelled(scene: RasterScene | VolumeScene, labels: Path, n_classes: int) -> LabelledScene:
    """Read a scene and its labels.

    Args:
        scene: As described for the model.
        labels: A file on the scene's native grid.
        n_classes: Numbers from 0 that labels may hold.

    Raises:
        SceneError: When labels and scene differ in shape, or a label is no class.
    """
    native = _native_labels(scene, labels)
    if native.shape != scene.frame.native_shape:
        raise SceneError(f"{scene.id}: labels {labels} are {native.shape}, the scene is {scene.frame.native_shape}")
    if native.min() < 0 or native.max() >= n_classes:
        raise SceneError(
            f"{scene.id}: labels {labels} hold {native.min()} to {native.max()}; classes are 0 to {n_classes - 1}"
        )
    with scene.open() as reader:
        image, observed = reader.read(Box.of_shape(scene.frame.model_shape))
        invalid = reader.invalid(Box.of_shape(scene.frame.native_shape))
    valid = observed if invalid is None else observed & ~invalid
    return LabelledScene(scene, native, image, _on_model_grid(scene, native, n_classes), valid)


def _native_labels(scene: RasterScene | VolumeScene, path: Path) -> NDArray[np.integer[Any]]:
    stored = read_labels(path)
    return scene.turn.turn(stored) if isinstance(scene, VolumeScene) else stored


def _on_model_grid(
    scene: RasterScene | VolumeScene, native: NDArray[np.integer[Any]], n_classes: int
) -> NDArray[np.integer[Any]]:
    """Return for each model pixel the class with the largest interpolated share."""
    if scene.frame.is_identity:
        return native
    box = Box.of_shape(scene.frame.model_shape)
    origin = (0,) * native.ndim
    shares = [
        resample.to_model((native == label).astype(np.float32), origin, box, scene.frame) for label in range(n_classes)
    ]
    winners: NDArray[np.intp] = np.argmax(np.stack(shares), axis=0)
    return winners.astype(np.uint8)
