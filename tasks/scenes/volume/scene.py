"""CT and MR volumes as scenes: turned to the model's axes, resampled to its spacing, read by windows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.card import CentredResampling, Resampling, Spacing
from tasks.errors import EmptySceneError, OversizedSceneError
from tasks.geometry import resample
from tasks.geometry.box import Box
from tasks.geometry.frame import Frame
from tasks.scenes.volume.frame import frame_of
from tasks.scenes.volume.header import VolumeHeader, volume_header
from tasks.scenes.volume.orientation import Turn, codes_of, turn_between
from tasks.scenes.volume.spool import spool

_MOST_MODEL_VOXELS = 1 << 36
_STATISTICS_VOXELS = 4_000_000
# A resampled voxel counts as observed where at least this share of what it is made of is.
_OBSERVED_SHARE = 0.5
_ROUNDED = 1e-5


@dataclass(frozen=True)
class VolumeScene:
    """One volume; small, and all that a worker needs to read it.

    Attributes:
        id: The scene's name.
        header: Of the original file.
        data_path: What is memory-mapped: the file itself, or its decompressed copy.
        turn: From the file's axes to the model's.
        codes: Axis codes of the turned axes, such as ``SAR``.
        frame: The grids of network and input, both in turned order.
        clip: Lowest and highest value, applied before resampling; None where the model does not ask for it.
    """

    id: str
    header: VolumeHeader
    data_path: Path
    turn: Turn
    codes: str
    frame: Frame
    clip: tuple[float, float] | None = None

    @property
    def n_channels(self) -> int:
        """A volume has one channel."""
        return 1

    @property
    def affine_mm(self) -> NDArray[np.float64]:
        """4 x 4, from voxels of the native turned grid to world, right-anterior-superior."""
        return self.turn.turned_affine(self.header.affine_mm)

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Of the native grid: depth, rows, cols."""
        return tuple(self.header.spacing_mm[axis] for axis in self.turn.axes)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one native voxel."""
        return self.header.voxel_volume_ml

    @contextmanager
    def open(self) -> Iterator[VolumeReader]:
        """Open the volume for reading in this process; nothing stays mapped between two reads."""
        yield VolumeReader(self)


class VolumeReader:
    """Reads windows of a volume."""

    def __init__(self, scene: VolumeScene) -> None:
        self._scene = scene

    def read(self, box: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read a window of the model grid.

        Args:
            box: ``depth, rows, cols`` inside ``frame.model_shape``.

        Returns:
            Physical values ``(1, *box.shape)``, 0 where not observed, and what was observed ``box.shape``.
        """
        frame = self._scene.frame
        if frame.is_identity:
            image, observed = self.native(box)
            return image[np.newaxis], observed
        needed = resample.native_box(box, frame)
        image, observed = self.native(needed)
        if self._scene.clip is not None:
            np.clip(image, *self._scene.clip, out=image, where=observed)
        values: NDArray[np.float32] = resample.to_model(image, needed.start, box, frame)
        if observed.all():
            return np.ascontiguousarray(values)[np.newaxis], np.ones(box.shape, np.bool_)
        share = resample.to_model(observed.astype(np.float32), needed.start, box, frame)
        # A cubic share is a sum of many weights: far from a hole it is 1, whatever was rounded.
        share = np.where(np.abs(share - 1.0) < _ROUNDED, np.float32(1.0), share)
        seen = share >= _OBSERVED_SHARE
        # The holes went in as 0: dividing by what was there keeps them from pulling their neighbours down.
        filled = np.divide(values, share, out=np.zeros_like(values), where=seen)
        return filled[np.newaxis], seen

    def invalid(self, box: Box) -> None:
        """Nothing that a volume observes is invalid by a job."""

    def valid(self, box: Box) -> NDArray[np.bool_]:
        """Tell which voxels of a window of the native grid are finite."""
        if _is_whole(self._scene.header):
            return np.ones(box.shape, np.bool_)
        return self.native(box)[1]

    def native(self, box: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read a window of the native turned grid.

        Returns:
            Physical values ``box.shape``, 0 where not finite, and which are finite ``box.shape``.
        """
        turn = self._scene.turn
        stored = turn.turn(_stored(self._scene, turn.to_file(box).slices))
        values = _physical(stored, self._scene.header)
        finite = np.isfinite(values)
        if not finite.all():
            values[~finite] = 0.0
        return values, finite


def describe_volume(
    scene_id: str,
    path: Path,
    card_orientation: str,
    card_spacing_mm: Spacing | None,
    spool_dir: Path,
    resampling: Resampling | CentredResampling | None = None,
) -> VolumeScene:
    """Describe a NIfTI file as a scene; a compressed one is decompressed into ``spool_dir`` once.

    Args:
        scene_id: The scene's name.
        path: ``.nii`` or ``.nii.gz``.
        card_orientation: Axis codes that the model wants, such as ``SAR``.
        card_spacing_mm: Spacing that the model wants, ``depth, rows, cols``; None keeps the volume's own.
        spool_dir: Where decompressed volumes go.
        resampling: How the volume comes to that spacing; a crop to what is not 0 reads the whole volume once.

    Raises:
        SceneError: As ``volume_header`` and ``spool`` say.
        CardError: When the orientation is none.
    """
    header = volume_header(path)
    scene = plan_volume(scene_id, header, card_orientation, card_spacing_mm, resampling)
    if header.is_compressed:
        scene = replace(scene, data_path=spool(path, header.n_bytes, spool_dir))
    crop = nonzero_box(scene) if isinstance(resampling, Resampling) and resampling.crop == "nonzero" else None
    if crop is None:
        return scene
    return replace(scene, frame=frame_of(scene.turn.shape, scene.spacing_mm, card_spacing_mm, resampling, crop))


def plan_volume(
    scene_id: str,
    header: VolumeHeader,
    card_orientation: str,
    card_spacing_mm: Spacing | None,
    resampling: Resampling | CentredResampling | None = None,
) -> VolumeScene:
    """Describe a volume from its header alone: uncropped, and one that is compressed cannot be opened yet.

    Arguments and errors as for ``describe_volume``.
    """
    turn = turn_between(header.file_shape, header.nearest_axes, card_orientation)
    spacing = tuple(header.spacing_mm[axis] for axis in turn.axes)
    frame = frame_of(turn.shape, spacing, card_spacing_mm, resampling)
    if math.prod(frame.model_shape) > _MOST_MODEL_VOXELS:
        raise OversizedSceneError(
            f"{scene_id}: at the model's spacing {card_spacing_mm} mm it has {frame.model_shape} voxels; its own "
            f"is {tuple(round(s, 4) for s in spacing)} mm: check the header's pixdim, sform and units"
        )
    codes = codes_of(turn, header.nearest_axes)
    clip = resampling.clip if isinstance(resampling, Resampling) else None
    return VolumeScene(scene_id, header, header.path, turn, codes, frame, clip)


def scene_values(scene: VolumeScene) -> NDArray[np.float32]:
    """Return the observed values that whole-scene statistics are taken from.

    Args:
        scene: A volume.

    Returns:
        ``(1, voxels)``: all finite voxels of the native grid under the model grid, or those of a regular lattice of
        at most four million where there are more. The same whatever the blocks and the plan.

    Raises:
        EmptySceneError: When no voxel is finite.
    """
    part = scene.turn.to_file(scene.frame.covered)
    step = 1
    while math.prod(-(-length // step) for length in part.shape) > _STATISTICS_VOXELS:
        step += 1
    chunks = []
    rows, cols = (slice(start, stop, step) for start, stop in zip(part.start[:2], part.stop[:2], strict=True))
    # Slice by slice: a strided look at the whole map would make all of it resident.
    for z in range(part.start[2], part.stop[2], step):
        window = (rows, cols, slice(z, z + 1))
        values = _physical(_stored(scene, window), scene.header)
        chunks.append(values[np.isfinite(values)])
    values = np.concatenate(chunks)
    if values.size == 0:
        raise EmptySceneError(f"{scene.id}: no voxel is a finite number")
    return values[np.newaxis]


def model_values(scene: VolumeScene) -> NDArray[np.float32]:
    """Return the same of the model grid, as the network is shown it.

    Raises:
        EmptySceneError: When no voxel is finite.
    """
    shape = scene.frame.model_shape
    step = 1
    while math.prod(-(-length // step) for length in shape) > _STATISTICS_VOXELS:
        step += 1
    chunks = []
    with scene.open() as reader:
        for z in range(0, shape[0], step):
            image, observed = reader.read(Box((z, 0, 0), (z + 1, *shape[1:])))
            part = (slice(None), slice(None, None, step), slice(None, None, step))
            chunks.append(image[0][part][observed[part]])
    values = np.concatenate(chunks)
    if values.size == 0:
        raise EmptySceneError(f"{scene.id}: no voxel is a finite number")
    return values[np.newaxis]


def nonzero_box(scene: VolumeScene) -> Box | None:
    """Return the smallest window of the turned native grid that holds all voxels that are not 0; None without any."""
    shape = scene.header.file_shape
    found = [np.zeros(length, np.bool_) for length in shape]
    for z in range(shape[2]):
        other = _physical(_stored(scene, (slice(None), slice(None), slice(z, z + 1))), scene.header)[..., 0] != 0
        found[0] |= other.any(axis=1)
        found[1] |= other.any(axis=0)
        found[2][z] = other.any()
    if not found[2].any():
        return None
    places = [np.flatnonzero(along) for along in found]
    return scene.turn.from_file(Box(tuple(int(p[0]) for p in places), tuple(int(p[-1]) + 1 for p in places)))


def _is_whole(header: VolumeHeader) -> bool:
    return np.dtype(header.dtype).kind in "iu" and (header.slope, header.intercept) == (1.0, 0.0)


def _stored(scene: VolumeScene, window: tuple[slice, ...]) -> NDArray[np.generic]:
    header = scene.header
    mapped = np.memmap(scene.data_path, header.dtype, "r", header.offset, header.file_shape, order="F")
    # A copy, so that the map closes when this returns and its pages do not count as this process's memory.
    return np.array(mapped[window])


def _physical(stored: NDArray[np.generic], header: VolumeHeader) -> NDArray[np.float32]:
    # What float32 cannot hold becomes infinite, and so not observed.
    with np.errstate(over="ignore", invalid="ignore"):
        if (header.slope, header.intercept) == (1.0, 0.0):
            return stored.astype(np.float32, order="C")
        scaled = stored.astype(np.float64, order="C")
        scaled *= header.slope
        scaled += header.intercept
        return scaled.astype(np.float32)
