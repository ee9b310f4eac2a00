"""Two volume masks, read on the reference's grid."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.answers.metrics.pair import MaskPair, Window
from tasks.errors import GridError
from tasks.geometry.box import Box
from tasks.jobs.source import VoxelSize
from tasks.pairs.labels import LabelRules
from tasks.scenes.volume.scene import SAME_VOXELS, VolumeReader, VolumeScene, apart_voxels, describe_volume

# Axes are turned alike in both masks; nothing is resampled by that.
_ORIENTATION = "SAR"
# What one read of the prediction may hold; pieces that touch more are halved.
_MOST_VOXELS = 1 << 24


@contextmanager
def opened_volume_pair(
    pair_id: str,
    paths: tuple[Path, Path],
    rules: tuple[LabelRules, LabelRules],
    *,
    resample: bool,
    voxel_size: VoxelSize | None = None,
) -> Iterator[MaskPair]:
    """Open a prediction and its reference; other arguments and errors are those of ``opened_raster_pair``.

    Axes are permuted and flipped to one order first, which resamples nothing.

    Args:
        pair_id: What the pair is called.
        paths: Of prediction and reference.
        rules: How the values of each are read.
        resample: Whether a prediction on another grid is taken at the centres of the reference's voxels.
        voxel_size: Which to believe where sform and pixdim of a header differ; None refuses.
    """
    with tempfile.TemporaryDirectory(prefix="swathe-evaluate-") as scratch:
        theirs = describe_volume(
            pair_id,
            paths[1],
            card_orientation=_ORIENTATION,
            card_spacing_mm=None,
            spool_dir=Path(scratch),
            voxel_size=voxel_size,
        )
        ours = describe_volume(
            pair_id,
            paths[0],
            card_orientation=_ORIENTATION,
            card_spacing_mm=None,
            spool_dir=Path(scratch),
            voxel_size=voxel_size,
            like=theirs,
        )
        to_ours = np.linalg.inv(ours.affine_mm) @ theirs.affine_mm
        apart = apart_voxels(ours, theirs)
        aligned = apart is not None and apart <= SAME_VOXELS
        if not aligned and not resample:
            raise GridError(
                f"{pair_id}: the masks lie on different grids. {_both(ours, theirs)}. Add --resample nearest to take "
                "the prediction at the centres of the reference's voxels"
            )
        notes = tuple(dict.fromkeys((*ours.header.notes, *theirs.header.notes)))
        if not aligned:
            notes += (f"the prediction was resampled (nearest). {_both(ours, theirs)}",)
        reference = VolumeReader(theirs)
        predicted = VolumeReader(ours) if aligned else _ResampledReader(ours, to_ours)

        # What a product of swathe says of itself; in any other mask 255 is a class.
        own = tuple(
            rule.leaving_open(volume.header.not_observed) for rule, volume in zip(rules, (ours, theirs), strict=True)
        )

        def read(box: Box) -> Window:
            mine, observed = own[0].read(*predicted.native(box))
            other, also = own[1].read(*reference.native(box))
            return Window(
                predicted=mine, reference=other, observed=observed & also, predicted_seen=observed, reference_seen=also
            )

        yield MaskPair(
            id=pair_id, shape=theirs.frame.native_shape, read=read, spacings={"mm": theirs.steps_mm}, notes=notes
        )


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


def _both(ours: VolumeScene, theirs: VolumeScene) -> str:
    return f"predicted: {_described(ours)}; reference: {_described(theirs)}"


def _described(scene: VolumeScene) -> str:
    shape = " x ".join(str(length) for length in scene.frame.native_shape)
    spacing = " x ".join(f"{size:.6g}" for size in scene.spacing_mm)
    place = ", ".join(f"{value:.6g}" for value in scene.affine_mm[:3, 3])
    return f"{shape} voxels of {spacing} mm, first voxel at {place} mm (right, anterior, superior)"
