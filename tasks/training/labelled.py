"""Scenes with labels, on the grid that a network is fitted on: in memory, or window by window from disk."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.errors import SceneError
from tasks.geometry import resample
from tasks.geometry.box import Box, split
from tasks.jobs.training import TrainingSource
from tasks.scenes.raster.scene import RasterScene
from tasks.scenes.volume.scene import VolumeScene
from tasks.segment.prepare import sampled_pixels
from tasks.training.labels import UNLABELLED, HeldLabels, Labels, open_labels

# In which a raster is read that need not fit in memory.
_WINDOW = (1024, 1024)
_REMEMBERED_PIXELS = 20_000


@dataclass(frozen=True, kw_only=True)
class Window:
    """Part of a labelled scene, on the model grid.

    Attributes:
        image: Float32 ``(channels, *shape)``, physical values.
        labels: Class numbers, ``shape``; -1 where there is none.
        valid: Which pixels were observed, ``shape``.
    """

    image: NDArray[np.float32]
    labels: NDArray[np.int32]
    valid: NDArray[np.bool_]

    def part(self, box: Box) -> Window:
        """Return a window of this one."""
        return Window(
            image=self.image[(slice(None), *box.slices)], labels=self.labels[box.slices], valid=self.valid[box.slices]
        )


@dataclass(frozen=True, kw_only=True)
class LabelledScene:
    """One scene with its reference.

    Attributes:
        scene: Its description.
        labels: Its reference, on its native grid: what masks are scored against.
        places: Of each class some labelled pixels, ``(n, axes)``; of scenes that are not held in memory.
        is_labelled_whole: Whether every pixel of the model grid was observed and has a label.
        pixels_sha256: Of the values on the model grid, whatever file they came out of.
        held: All of it, where it is held in memory.
        site: The place or the patient.
        files_sha256: Of each file of the scene.
        labels_sha256: Of the file of labels.
    """

    scene: RasterScene | VolumeScene
    labels: Labels
    places: dict[int, NDArray[np.intp]]
    is_labelled_whole: bool
    pixels_sha256: str
    held: Window | None = None
    site: str = ""
    files_sha256: tuple[str, ...] = ()
    labels_sha256: str = ""

    @property
    def name(self) -> str:
        """The scene's id."""
        return self.scene.id

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the model grid."""
        return self.scene.frame.model_shape

    def window(self, box: Box) -> Window:
        """Return a window of the model grid."""
        return _read(self.scene, self.labels, box) if self.held is None else self.held.part(box)

    def windows(self) -> Iterator[Window]:
        """Yield all of the scene, in pieces that fit in memory."""
        return (self.window(box) for box in _boxes(self.scene))

    def native_windows(self) -> Iterator[tuple[Box, NDArray[np.int32]]]:
        """Yield the class numbers of the native grid, -1 where there is none, in pieces that fit in memory."""
        return _native_windows(self.scene, self.labels)

    def pixels(self) -> NDArray[np.float32]:
        """Return observed values, ``(channels, n)``, that stand for all: of a raster on disk those of some windows."""
        if self.held is None and isinstance(self.scene, RasterScene):
            return sampled_pixels(self.scene)
        whole = self.window(Box.of_shape(self.shape))
        return whole.image[:, whole.valid]


def read_labelled(
    scene: RasterScene | VolumeScene, path: Path, n_classes: int, source: TrainingSource, *, hold: bool = True
) -> LabelledScene:
    """Look at every pixel of a scene and its labels once.

    Args:
        scene: As described for the model.
        path: Of the labels.
        n_classes: Numbers from 0 that labels may hold.
        source: What the job says of labels.
        hold: Whether to keep all of it in memory; volumes are in any case.

    Raises:
        GridError: When labels and scene lie on two grids.
        PolygonError: When polygons cannot be laid on the scene.
        SceneError: When a label is no class, or no pixel has one where the scene was observed.
    """
    labels = open_labels(path, scene, source)
    _require_classes(scene, labels, path, n_classes)
    whole = _whole(scene, labels, n_classes) if hold or isinstance(scene, VolumeScene) else None
    seen = hashlib.sha256(str((scene.n_channels, *scene.frame.model_shape)).encode())
    places = _Places()
    n_labelled = 0
    for box in _boxes(scene):
        window = _read(scene, labels, box) if whole is None else whole.part(box)
        seen.update(window.image.tobytes())
        marked = np.where(window.valid, window.labels, UNLABELLED)
        n_labelled += int(np.count_nonzero(marked != UNLABELLED))
        if whole is None:
            places.look_at(marked, box)
    if not n_labelled:
        raise SceneError(
            f"{scene.id}: labels {path} say nothing: no pixel has a class where the scene was observed. Label it, or "
            "leave it out by training.exclude"
        )
    return LabelledScene(
        scene=scene,
        labels=labels,
        places=places.found,
        is_labelled_whole=n_labelled == math.prod(scene.frame.model_shape),
        pixels_sha256=seen.hexdigest(),
        held=whole,
    )


def layer_bytes(scene: RasterScene | VolumeScene) -> int:
    """Return what a scene takes in memory while a network is fitted on it."""
    # Values, what was observed, and labels of eight bytes; twice, while they are prepared.
    return 2 * (4 * scene.n_channels + 12) * math.prod(scene.frame.model_shape)


def _boxes(scene: RasterScene | VolumeScene) -> Iterator[Box]:
    shape = scene.frame.model_shape
    return split(shape, _WINDOW) if isinstance(scene, RasterScene) else iter([Box.of_shape(shape)])


def _native_windows(scene: RasterScene | VolumeScene, labels: Labels) -> Iterator[tuple[Box, NDArray[np.int32]]]:
    shape = scene.frame.native_shape
    boxes = split(shape, _WINDOW) if isinstance(scene, RasterScene) else iter([Box.of_shape(shape)])
    return ((box, labels.read(box)) for box in boxes)


def _require_classes(scene: RasterScene | VolumeScene, labels: Labels, path: Path, n_classes: int) -> None:
    held: set[int] = set()
    for _, numbers in _native_windows(scene, labels):
        held |= {int(number) for number in np.unique(numbers)}
    if max(held) >= n_classes:
        told = ", ".join(str(number) for number in sorted(held - {UNLABELLED}))
        raise SceneError(
            f"{scene.id}: labels {path} hold {told}; classes are 0 to {n_classes - 1}. Number them so, or declare what "
            "is not observed as nodata, or name its value as training.ignore"
        )


def _read(scene: RasterScene | VolumeScene, labels: Labels, box: Box) -> Window:
    """Read a window of a scene whose model grid is its own."""
    with scene.open() as reader:
        image, observed = reader.read(box)
        invalid = reader.invalid(box)
    return Window(image=image, labels=labels.read(box), valid=observed if invalid is None else observed & ~invalid)


def _whole(scene: RasterScene | VolumeScene, labels: Labels, n_classes: int) -> Window:
    box = Box.of_shape(scene.frame.model_shape)
    if scene.frame.is_identity:
        return _read(scene, labels, box)
    native = labels.read(Box.of_shape(scene.frame.native_shape))
    return _read(scene, HeldLabels(_on_model_grid(scene, native, n_classes)), box)


def _on_model_grid(scene: RasterScene | VolumeScene, native: NDArray[np.int32], n_classes: int) -> NDArray[np.int32]:
    """Return for each model pixel the class with the largest interpolated share; -1 where that is of no label."""
    box = Box.of_shape(scene.frame.model_shape)
    origin = (0,) * native.ndim
    shares = [
        resample.to_model((native == label).astype(np.float32), origin, box, scene.frame)
        for label in (*range(n_classes), UNLABELLED)
    ]
    winners: NDArray[np.intp] = np.argmax(np.stack(shares), axis=0)
    return np.where(winners == n_classes, UNLABELLED, winners).astype(np.int32)


class _Places:
    """Some pixels of each class of a scene that is looked at window by window, each with the same chance."""

    def __init__(self) -> None:
        self._chance = np.random.default_rng(0)
        self._kept: dict[int, tuple[NDArray[np.intp], NDArray[np.float64]]] = {}

    def look_at(self, marked: NDArray[np.int32], box: Box) -> None:
        """Take in a window of class numbers, -1 where there is none."""
        for number in np.unique(marked[marked != UNLABELLED]):
            pixels = np.argwhere(marked == number) + box.start
            lots = self._chance.random(len(pixels))
            if int(number) in self._kept:
                before, drawn = self._kept[int(number)]
                pixels, lots = np.concatenate([before, pixels]), np.concatenate([drawn, lots])
            lowest = np.argsort(lots)[:_REMEMBERED_PIXELS]
            self._kept[int(number)] = pixels[lowest], lots[lowest]

    @property
    def found(self) -> dict[int, NDArray[np.intp]]:
        """The pixels, ``(n, axes)``, by class."""
        return {number: pixels for number, (pixels, _) in sorted(self._kept.items())}
