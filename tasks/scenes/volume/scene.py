"""CT and MR volumes as scenes: turned to the model's axes, resampled to its spacing, read by windows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.card import CentredResampling, Resampling, Spacing
from tasks.errors import EmptySceneError, GridError, OversizedSceneError
from tasks.geometry import resample
from tasks.geometry.box import Box
from tasks.geometry.frame import Frame
from tasks.jobs.source import VoxelSize
from tasks.scenes.volume.frame import frame_of, part_of
from tasks.scenes.volume.header import VolumeHeader, volume_header
from tasks.scenes.volume.orientation import Turn, codes_of, turn_between, turn_to
from tasks.scenes.volume.place import nearest_axes
from tasks.scenes.volume.spool import spool

# Headers hold float32: grids whose corners are closer than this, in voxels, are one.
SAME_VOXELS = 0.01
_MOST_MODEL_VOXELS = 1 << 36
_STATISTICS_VOXELS = 4_000_000
# Of one read through another grid: places and neighbours are many times as large.
_MOST_INTERPOLATED = 1 << 21
# A resampled voxel counts as observed where at least this share of what it is made of is.
_OBSERVED_SHARE = 0.5
_ROUNDED = 1e-5
# Cosines of angles between axes that are square to each other but for the rounding of a header.
_SQUARE = 1e-4


@dataclass(frozen=True)
class VolumeFile:
    """One file of voxels.

    Attributes:
        header: Of the original file.
        data_path: What is memory-mapped: the file itself, or its decompressed copy.
        turn: From the file's axes to the scene's.
    """

    header: VolumeHeader
    data_path: Path
    turn: Turn

    @property
    def affine_mm(self) -> NDArray[np.float64]:
        """4 x 4, from turned voxels to world, right-anterior-superior."""
        return self.turn.turned_affine(self.header.affine_mm)

    @property
    def is_whole(self) -> bool:
        """Whether every voxel is a finite number."""
        return np.dtype(self.header.dtype).kind in "iu" and (self.header.slope, self.header.intercept) == (1.0, 0.0)

    def values(self, box: Box) -> NDArray[np.float32]:
        """Read physical values of a turned window; what is not finite stays so."""
        return _physical(self.turn.turn(self.stored(self.turn.to_file(box).slices)), self.header)

    def stored(self, window: tuple[slice, ...]) -> NDArray[np.generic]:
        """Read a window in the file's own axes and type."""
        header = self.header
        mapped = np.memmap(self.data_path, header.dtype, "r", header.offset, header.file_shape, order="F")
        # A copy, so that the map closes when this returns and its pages do not count as this process's memory.
        return np.array(mapped[window])

    def physical(self, window: tuple[slice, ...]) -> NDArray[np.float32]:
        """Read a window in the file's own axes as physical values."""
        return _physical(self.stored(window), self.header)


@dataclass(frozen=True, kw_only=True)
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
        others: The files of the channels behind the first, whose grid is the scene's.
    """

    id: str
    header: VolumeHeader
    data_path: Path
    turn: Turn
    codes: str
    frame: Frame
    clip: tuple[float, float] | None = None
    others: tuple[VolumeFile, ...] = ()

    @property
    def files(self) -> tuple[VolumeFile, ...]:
        """A file per channel."""
        return VolumeFile(self.header, self.data_path, self.turn), *self.others

    @property
    def n_channels(self) -> int:
        """As many as there are files."""
        return 1 + len(self.others)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of how the files were read."""
        found = [note for file in self.files for note in file.header.notes]
        found += [
            f"{file.header.path.name}: interpolated onto the grid of {self.header.path.name}"
            for file in self.others
            if not _lies_on(file, self)
        ]
        return tuple(dict.fromkeys(found))

    @property
    def affine_mm(self) -> NDArray[np.float64]:
        """4 x 4, from voxels of the native turned grid to world, right-anterior-superior."""
        return self.turn.turned_affine(self.header.affine_mm)

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Of the native grid: depth, rows, cols."""
        return tuple(self.header.spacing_mm[axis] for axis in self.turn.axes)

    @property
    def steps_mm(self) -> tuple[float, ...] | tuple[tuple[float, ...], ...]:
        """``spacing_mm``; where axes are not square to each other, the steps along them as vectors in the world."""
        steps = self.affine_mm[:3, :3].T
        lengths = np.array(self.spacing_mm)
        cosines = (steps @ steps.T) / np.outer(lengths, lengths)
        if np.abs(cosines - np.eye(3)).max() <= _SQUARE:
            return self.spacing_mm
        return tuple(tuple(float(value) for value in step) for step in steps)

    def distance_mm(self, axis: int) -> float:
        """Return how far apart the slices across an axis lie: less than its spacing where they are sheared."""
        steps = self.affine_mm[:3, :3]
        across = np.cross(steps[:, axis - 2], steps[:, axis - 1])
        return float(abs(np.linalg.det(steps)) / np.linalg.norm(across))

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one native voxel."""
        return self.header.voxel_volume_ml

    @contextmanager
    def open(self) -> Iterator[VolumeReader]:
        """Open the volume for reading in this process; nothing stays mapped between two reads."""
        yield VolumeReader(self)


class Interpolated:
    """Reads a file at the voxel centres of another grid, linearly; each value depends on its own place alone."""

    def __init__(self, file: VolumeFile, affine_mm: NDArray[np.float64]) -> None:
        self._file = file
        self._shape = np.array(file.turn.shape)
        self._to_file = np.linalg.inv(file.affine_mm) @ affine_mm

    def values(self, box: Box) -> NDArray[np.float32]:
        """Read a window of the other grid; NaN where the file does not reach, or a voxel beside is not finite."""
        if math.prod(box.shape) > _MOST_INTERPOLATED and box.shape[0] > 1:
            middle = box.start[0] + box.shape[0] // 2
            parts = (Box(box.start, (middle, *box.stop[1:])), Box((middle, *box.start[1:]), box.stop))
            return np.concatenate([self.values(part) for part in parts])
        axes = (np.arange(start, stop) for start, stop in zip(box.start, box.stop, strict=True))
        centres = np.stack(np.meshgrid(*axes, indexing="ij"))
        places = np.einsum("ij,j...->i...", self._to_file[:3, :3], centres) + self._to_file[:3, 3].reshape(3, 1, 1, 1)
        last = (self._shape - 1).reshape(3, 1, 1, 1)
        # Half a voxel beyond the outer centres is the file's still.
        inside = ((places >= -0.5) & (places <= last + 0.5)).all(axis=0)
        found = np.full(box.shape, np.nan, np.float32)
        if inside.any():
            found[inside] = self._linear(np.clip(places, 0, last)[:, inside])
        return found

    def _linear(self, places: NDArray[np.float64]) -> NDArray[np.float32]:
        low = np.floor(places).astype(np.int64)
        above = places - low
        window = Box(tuple(low.min(axis=1).tolist()), tuple((np.ceil(places).max(axis=1).astype(int) + 1).tolist()))
        stored = self._file.values(window).astype(np.float64)
        start = np.array(window.start).reshape(3, 1)
        total = np.zeros(places.shape[1])
        for corner in product((0, 1), repeat=3):
            side = np.array(corner).reshape(3, 1)
            weight = np.where(side, above, 1.0 - above).prod(axis=0)
            # A neighbour without weight may lie outside, or be no number.
            used = weight > 0
            index = tuple((low + side - start)[:, used])
            total[used] += weight[used] * stored[index]
        return total.astype(np.float32)


class VolumeReader:
    """Reads windows of a volume."""

    def __init__(self, scene: VolumeScene) -> None:
        self._scene = scene
        self._channels: list[VolumeFile | Interpolated] = [
            file if _lies_on(file, scene) else Interpolated(file, scene.affine_mm) for file in scene.files
        ]

    def read(self, box: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read a window of the model grid.

        Args:
            box: ``depth, rows, cols`` inside ``frame.model_shape``.

        Returns:
            Physical values ``(channels, *box.shape)``, 0 where not observed, and what every channel observed
            ``box.shape``.
        """
        image = np.empty((len(self._channels), *box.shape), np.float32)
        seen = np.ones(box.shape, np.bool_)
        for number in range(len(self._channels)):
            image[number], observed = self._channel(number, box)
            seen &= observed
        if not seen.all():
            image[:, ~seen] = 0.0
        return image, seen

    def _channel(self, number: int, box: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        frame = self._scene.frame
        if frame.is_identity:
            return self.native(box, number)
        needed = resample.native_box(box, frame)
        image, observed = self.native(needed, number)
        if self._scene.clip is not None:
            np.clip(image, *self._scene.clip, out=image, where=observed)
        values: NDArray[np.float32] = resample.to_model(image, needed.start, box, frame)
        if observed.all():
            return np.ascontiguousarray(values), np.ones(box.shape, np.bool_)
        share = resample.to_model(observed.astype(np.float32), needed.start, box, frame)
        # A cubic share is a sum of many weights: far from a hole it is 1, whatever was rounded.
        share = np.where(np.abs(share - 1.0) < _ROUNDED, np.float32(1.0), share)
        seen = share >= _OBSERVED_SHARE
        # The holes went in as 0: dividing by what was there keeps them from pulling their neighbours down.
        return np.divide(values, share, out=np.zeros_like(values), where=seen), seen

    def invalid(self, box: Box) -> None:
        """Nothing that a volume observes is invalid by a job."""

    def valid(self, box: Box) -> NDArray[np.bool_]:
        """Tell which voxels of a window of the native grid are finite in every channel."""
        valid = np.ones(box.shape, np.bool_)
        for number, file in enumerate(self._channels):
            if not (isinstance(file, VolumeFile) and file.is_whole):
                valid &= self.native(box, number)[1]
        return valid

    def native(self, box: Box, channel: int = 0) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read a window of the native turned grid.

        Args:
            box: ``depth, rows, cols``.
            channel: Which; the first is the one that pictures show.

        Returns:
            Physical values ``box.shape``, 0 where not finite, and which are finite ``box.shape``.
        """
        values = self._channels[channel].values(box)
        finite = np.isfinite(values)
        if not finite.all():
            values[~finite] = 0.0
        return values, finite


def describe_volume(  # noqa: PLR0913 - what the model wants, and what the header leaves open
    scene_id: str,
    path: Path | Sequence[Path],
    card_orientation: str,
    card_spacing_mm: Spacing | None,
    spool_dir: Path,
    resampling: Resampling | CentredResampling | None = None,
    *,
    voxel_size: VoxelSize | None = None,
    like: VolumeScene | None = None,
) -> VolumeScene:
    """Describe a NIfTI file, or one per channel, as a scene; compressed ones are decompressed into ``spool_dir`` once.

    The grid is that of the first file; others that lie on another one are interpolated linearly onto it.

    Args:
        scene_id: The scene's name.
        path: ``.nii`` or ``.nii.gz``; several in the order of the model's channels.
        card_orientation: Axis codes that the model wants, such as ``SAR``.
        card_spacing_mm: Spacing that the model wants, ``depth, rows, cols``; None keeps the volume's own.
        spool_dir: Where decompressed volumes go.
        resampling: How the volume comes to that spacing; a crop to what is not 0 reads the whole volume once.
        voxel_size: Which to believe where sform and pixdim differ; None refuses.
        like: The volume that this one lies beside: on one grid, both are turned to the same axes.

    Raises:
        SceneError: As ``volume_header`` and ``spool`` say.
        CardError: When the orientation is none.
    """
    paths = (path,) if isinstance(path, Path) else tuple(path)
    headers = [volume_header(one, voxel_size) for one in paths]
    scene = plan_volume(
        scene_id,
        headers,
        card_orientation=card_orientation,
        card_spacing_mm=card_spacing_mm,
        resampling=resampling,
        like=like,
    )
    first, *others = (_unpacked(file, spool_dir) for file in scene.files)
    scene = replace(scene, data_path=first.data_path, others=tuple(others))
    if isinstance(resampling, CentredResampling):
        part = None if resampling.foreground is None else foreground_box(scene, resampling.foreground)
        return scene if part is None else replace(scene, frame=part_of(scene.frame, part))
    crop = nonzero_box(scene) if isinstance(resampling, Resampling) and resampling.crop == "nonzero" else None
    if crop is None:
        return scene
    return replace(
        scene,
        frame=frame_of(
            scene.turn.shape, scene.spacing_mm, model_spacing_mm=card_spacing_mm, resampling=resampling, crop=crop
        ),
    )


def _unpacked(file: VolumeFile, spool_dir: Path) -> VolumeFile:
    header = file.header
    return replace(file, data_path=spool(header.path, header.n_bytes, spool_dir)) if header.is_compressed else file


def _require_overlap(scene: VolumeScene) -> None:
    for file in scene.others:
        there = np.linalg.inv(file.affine_mm) @ scene.affine_mm
        corners = np.array([(*corner, 1.0) for corner in product(*((0.0, n - 1.0) for n in scene.turn.shape))])
        places = corners @ there.T
        low, high = places[:, :3].min(axis=0), places[:, :3].max(axis=0)
        if (high < -0.5).any() or (low > np.array(file.turn.shape) - 0.5).any():
            raise GridError(
                f"{scene.id}: {file.header.path.name} and {scene.header.path.name} show different places: their boxes "
                "do not meet. Give the channels of one scan"
            )


def plan_volume(
    scene_id: str,
    headers: Sequence[VolumeHeader],
    card_orientation: str,
    card_spacing_mm: Spacing | None,
    resampling: Resampling | CentredResampling | None = None,
    like: VolumeScene | None = None,
) -> VolumeScene:
    """Describe a volume from headers alone: uncropped, and what is compressed cannot be opened yet.

    Arguments and errors as for ``describe_volume``; headers in the order of the model's channels.
    """
    header, *others = headers
    alike = None if like is None else _turn_like(header, like)
    turn = alike or turn_between(header.file_shape, header.nearest_axes, card_orientation)
    spacing = tuple(header.spacing_mm[axis] for axis in turn.axes)
    frame = frame_of(turn.shape, spacing, card_spacing_mm, resampling)
    if math.prod(frame.model_shape) > _MOST_MODEL_VOXELS:
        raise OversizedSceneError(
            f"{scene_id}: at the model's spacing {card_spacing_mm} mm it has {frame.model_shape} voxels; its own "
            f"is {tuple(round(s, 4) for s in spacing)} mm: check the header's pixdim, sform and units"
        )
    codes = like.codes if like and alike else codes_of(turn, header.nearest_axes)
    clip = resampling.clip if isinstance(resampling, Resampling) else None
    scene = VolumeScene(
        id=scene_id, header=header, data_path=header.path, turn=turn, codes=codes, frame=frame, clip=clip
    )
    scene = replace(scene, others=tuple(_beside(other, scene) for other in others))
    _require_overlap(scene)
    return scene


def _beside(header: VolumeHeader, scene: VolumeScene) -> VolumeFile:
    """Return a file turned to the grid of a scene where it lies on it, else to its axes."""
    turn = _turn_like(header, scene) or turn_between(header.file_shape, header.nearest_axes, scene.codes)
    return VolumeFile(header, header.path, turn)


def apart_voxels(one: VolumeScene, other: VolumeScene) -> float | None:
    """Return how far the corners of two native grids lie apart, in voxels; None where their shapes differ."""
    return _apart(one.turn.shape, one.affine_mm, other)


def _apart(shape: tuple[int, ...], affine: NDArray[np.float64], other: VolumeScene) -> float | None:
    if shape != other.frame.native_shape:
        return None
    corners = np.array([(*corner, 1.0) for corner in product(*((0.0, length - 1.0) for length in shape))])
    there = corners @ (np.linalg.inv(other.affine_mm) @ affine).T
    return float(np.abs(there - corners).max())


def _turn_like(header: VolumeHeader, other: VolumeScene) -> Turn | None:
    """Return the turn that lays a volume on another one's grid; None where they lie on two.

    Each volume by itself is turned to the nearest axes of the world. Between two of them, at 45 degrees, the last digit
    of a header decides which is nearer: two headers of one grid, rounded by two programs, would part.
    """
    axes = nearest_axes(np.linalg.inv(other.affine_mm) @ header.affine_mm)
    turn = turn_to(header.file_shape, axes, ((0, 1), (1, 1), (2, 1)))
    apart = _apart(turn.shape, turn.turned_affine(header.affine_mm), other)
    return turn if apart is not None and apart <= SAME_VOXELS else None


def scene_values(scene: VolumeScene) -> NDArray[np.float32]:
    """Return the observed values that whole-scene statistics are taken from.

    Args:
        scene: A volume.

    Returns:
        ``(channels, voxels)``: all finite voxels of the native grid under the model grid, or those of a regular
        lattice of at most four million where there are more. The same whatever the blocks and the plan.

    Raises:
        EmptySceneError: When no voxel is finite.
    """
    part = scene.turn.to_file(scene.frame.covered)
    step = 1
    while math.prod(-(-length // step) for length in part.shape) > _STATISTICS_VOXELS:
        step += 1
    chunks = []
    # Slice by slice: a strided look at the whole map would make all of it resident.
    with scene.open() as reader:
        for z in range(part.start[2], part.stop[2], step):
            plane = scene.turn.from_file(Box((*part.start[:2], z), (*part.stop[:2], z + 1)))
            channels = [reader.native(plane, number) for number in range(scene.n_channels)]
            seen = np.logical_and.reduce([scene.turn.turn_back(finite) for _, finite in channels])[::step, ::step]
            chunks.append(np.stack([scene.turn.turn_back(values)[::step, ::step][seen] for values, _ in channels]))
    values = np.concatenate(chunks, axis=1)
    if values.shape[1] == 0:
        raise EmptySceneError(f"{scene.id}: no voxel is a finite number")
    return values


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
            chunks.append(image[(slice(None), *part)][:, observed[part]])
    values = np.concatenate(chunks, axis=1)
    if values.shape[1] == 0:
        raise EmptySceneError(f"{scene.id}: no voxel is a finite number")
    return values


def foreground_box(scene: VolumeScene, above: float) -> Box | None:
    """Return the smallest window of the model grid that holds all values above a number; None without any."""
    shape = scene.frame.model_shape
    found = [np.zeros(length, np.bool_) for length in shape]
    with scene.open() as reader:
        for z in range(shape[0]):
            image, observed = reader.read(Box((z, 0, 0), (z + 1, *shape[1:])))
            plane = ((image > np.float32(above)).any(axis=0) & observed)[0]
            found[0][z] = plane.any()
            found[1] |= plane.any(axis=1)
            found[2] |= plane.any(axis=0)
    if not found[0].any():
        return None
    places = [np.flatnonzero(along) for along in found]
    return Box(tuple(int(p[0]) for p in places), tuple(int(p[-1]) + 1 for p in places))


def nonzero_box(scene: VolumeScene) -> Box | None:
    """Return the smallest window of the turned native grid that holds all voxels that are not 0 in every channel."""
    shape = scene.header.file_shape
    found = [np.zeros(length, np.bool_) for length in shape]
    with scene.open() as reader:
        for z in range(shape[2]):
            plane = scene.turn.from_file(Box((0, 0, z), (*shape[:2], z + 1)))
            other = np.zeros(shape[:2], np.bool_)
            for number in range(scene.n_channels):
                values, finite = reader.native(plane, number)
                other |= scene.turn.turn_back((values != 0) | ~finite)[..., 0]
            found[0] |= other.any(axis=1)
            found[1] |= other.any(axis=0)
            found[2][z] = other.any()
    if not found[2].any():
        return None
    places = [np.flatnonzero(along) for along in found]
    return scene.turn.from_file(Box(tuple(int(p[0]) for p in places), tuple(int(p[-1]) + 1 for p in places)))


def _lies_on(file: VolumeFile, scene: VolumeScene) -> bool:
    apart = _apart(file.turn.shape, file.affine_mm, scene)
    return apart is not None and apart <= SAME_VOXELS


def _physical(stored: NDArray[np.generic], header: VolumeHeader) -> NDArray[np.float32]:
    # What float32 cannot hold becomes infinite, and so not observed.
    with np.errstate(over="ignore", invalid="ignore"):
        if (header.slope, header.intercept) == (1.0, 0.0):
            return stored.astype(np.float32, order="C")
        scaled = stored.astype(np.float64, order="C")
        scaled *= header.slope
        scaled += header.intercept
        return scaled.astype(np.float32)
