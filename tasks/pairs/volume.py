"""Two volume masks, read on the reference's grid."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.answers.metrics.pair import MaskPair, Window
from tasks.errors import GridError
from tasks.geometry.box import Box
from tasks.pairs.labels import LabelRules
from tasks.scenes.volume.scene import VolumeReader, VolumeScene, describe_volume

# Axes are turned alike in both masks; nothing is resampled by that.
_ORIENTATION = "SAR"
# Headers hold float32: voxels that lie closer than this are one.
_SAME_VOXELS = 0.01
# What one read of the prediction may hold; pieces that touch more are halved.
_MOST_VOXELS = 1 << 24


@contextmanager
def opened_volume_pair(
    pair_id: str, paths: tuple[Path, Path], rules: tuple[LabelRules, LabelRules], *, resample: bool
) -> Iterator[MaskPair]:
    """Open a prediction and its reference; arguments and errors are those of ``opened_raster_pair``.

    Axes are permuted and flipped to one order first, which resamples nothing.
    """
    with tempfile.TemporaryDirectory(prefix="swathe-evaluate-") as scratch:
        ours, theirs = (describe_volume(pair_id, path, _ORIENTATION, None, Path(scratch)) for path in paths)
        to_ours = np.linalg.inv(ours.affine_mm) @ theirs.affine_mm
        aligned = _coincide(ours, theirs, to_ours)
        if not aligned and not resample:
            raise GridError(
                f"{pair_id}: the masks lie on different grids. {_both(ours, theirs)}. Add --resample nearest to take "
                "the prediction at the centres of the reference's voxels"
            )
        notes = () if aligned else (f"the prediction was resampled (nearest). {_both(ours, theirs)}",)
        reference = VolumeReader(theirs)
        predicted = VolumeReader(ours) if aligned else _ResampledReader(ours, to_ours)

        def read(box: Box) -> Window:
            mine, observed = rules[0].read(*predicted.native(box))
            other, also = rules[1].read(*reference.native(box))
            return Window(mine, other, observed & also, observed, also)

        yield MaskPair(pair_id, theirs.frame.native_shape, read, {"mm": theirs.spacing_mm}, notes=notes)


class _ResampledReader:
    """Reads a volume at the voxel centres of another grid; each value depends on its own voxel alone."""

    def __init__(self, scene: VolumeScene, to_scene: NDArray[np.float64]) -> None:
        self._reader = VolumeReader(scene)
        self._shape = np.array(scene.frame.native_shape)
        self._to_scene = to_scene

    def native(self, box: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read a window of the other grid.

        Returns:
            Values ``box.shape``, 0 where not finite or outside, and which are neither.
        """
        centres = np.stack(
            np.meshgrid(*(np.arange(a, b) for a, b in zip(box.start, box.stop, strict=True)), indexing="ij")
        )
        places = np.einsum("ij,j...->i...", self._to_scene[:3, :3], centres)
        places += self._to_scene[:3, 3].reshape(3, 1, 1, 1)
        nearest = np.floor(places + 0.5).astype(np.int64)
        inside = ((nearest >= 0) & (nearest < self._shape.reshape(3, 1, 1, 1))).all(axis=0)
        values, seen = np.zeros(box.shape, np.float32), np.zeros(box.shape, np.bool_)
        if not inside.any():
            return values, seen
        touched = nearest[:, inside]
        source = Box(tuple(touched.min(axis=1).tolist()), tuple((touched.max(axis=1) + 1).tolist()))
        if np.prod(source.shape) > _MOST_VOXELS and max(box.shape) > 1:
            return self._halved(box)
        stored, finite = self._reader.native(source)
        index = tuple(touched - np.array(source.start).reshape(3, 1))
        values[inside], seen[inside] = stored[index], finite[index]
        return values, seen

    def _halved(self, box: Box) -> tuple[NDArray[Any], NDArray[Any]]:
        axis = int(np.argmax(box.shape))
        middle = box.start[axis] + box.shape[axis] // 2
        lower = Box(box.start, (*box.stop[:axis], middle, *box.stop[axis + 1 :]))
        upper = Box((*box.start[:axis], middle, *box.start[axis + 1 :]), box.stop)
        first, second = self.native(lower), self.native(upper)
        return np.concatenate([first[0], second[0]], axis), np.concatenate([first[1], second[1]], axis)


def _coincide(ours: VolumeScene, theirs: VolumeScene, to_ours: NDArray[np.float64]) -> bool:
    shape = theirs.frame.native_shape
    if ours.frame.native_shape != shape:
        return False
    corners = np.array([(*corner, 1.0) for corner in product(*((0.0, length - 1.0) for length in shape))])
    return bool(np.abs(corners @ to_ours.T - corners).max() <= _SAME_VOXELS)


def _both(ours: VolumeScene, theirs: VolumeScene) -> str:
    return f"predicted: {_described(ours)}; reference: {_described(theirs)}"


def _described(scene: VolumeScene) -> str:
    shape = " x ".join(str(length) for length in scene.frame.native_shape)
    spacing = " x ".join(f"{size:.6g}" for size in scene.spacing_mm)
    place = ", ".join(f"{value:.6g}" for value in scene.affine_mm[:3, 3])
    return f"{shape} voxels of {spacing} mm, first voxel at {place} mm (right, anterior, superior)"
