"""Where a NIfTI header says that its voxels lie, and how large they are: sform, qform and pixdim, held together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import GeometryError, UnreadableSceneError
from tasks.jobs.source import VoxelSize

# NIfTI's codes for metre, millimetre and micrometre; 0, unknown, is taken for millimetres as everybody does.
_MM_PER_UNIT = {1: 1000.0, 3: 0.001}
# Shares by which sform and pixdim may differ: float32 and a rounded header, and what is no rounding any more.
_ROUNDED = 1e-3
_DIFFERENT = 1e-2
# By how much the squares of a quaternion's parts may exceed 1 before it is damage and not rounding.
_ROUNDED_QUATERNION = 1e-3
# Below this the first part of a quaternion is taken for 0 (nifti_quatern_to_mat44 of the reference library).
_NO_REST = 1e-7
# The determinant over the norms: 1 for a right angle between all axes, 0 for axes that fall together.
_FLAT = 1e-6
# Sizes of voxels that no scanner or microscope gives, and those that few do.
_BELIEVED_MM = (1e-4, 1e4)
_USUAL_MM = (0.01, 50.0)


@dataclass(frozen=True)
class Place:
    """Where voxels lie.

    Attributes:
        affine: Rows of the 4 x 4 from file voxels to world, right-anterior-superior, in millimetres.
        notes: What a user should know of how it was read.
    """

    affine: tuple[tuple[float, ...], ...]
    notes: tuple[str, ...] = ()


def place_of(
    name: str, fields: NDArray[Any], shape: tuple[int, int, int], voxel_size: VoxelSize | None = None
) -> Place:
    """Read the place of a volume from its header, as the NIfTI-1 standard has it.

    The sform goes before the qform, and both go before the bare sizes of voxels. An sform whose voxels are of another
    size than pixdim says is believed by nobody unasked: a program that left the spacing out of the sform wrote such
    files, and so do programs that keep a scaling to a template there.

    Args:
        name: Of the file, for errors.
        fields: Of the header.
        shape: Voxels in file order.
        voxel_size: Which to believe where sform and pixdim differ; None refuses.

    Raises:
        GeometryError: When sform and pixdim differ and nothing says which is right.
        UnreadableSceneError: When the axes are singular or not finite, the quaternion is none, or voxels of that size
            are none.
    """
    reading = _Reading(name, fields, shape)
    affine = reading.affine(voxel_size)
    affine[:3] *= reading.mm_per_unit
    columns = affine[:3, :3]
    if not _has_axes(affine):
        raise UnreadableSceneError(
            f"{name}: the affine {columns.tolist()} is singular or not finite; mend sform or qform"
        )
    lengths = np.linalg.norm(columns, axis=0)
    sides = " x ".join(f"{length:.6g}" for length in lengths)
    if lengths.min() < _BELIEVED_MM[0] or lengths.max() > _BELIEVED_MM[1]:
        raise UnreadableSceneError(f"{name}: voxels of {sides} mm are not believed. Mend pixdim, sform and the units")
    if lengths.min() < _USUAL_MM[0] or lengths.max() > _USUAL_MM[1]:
        reading.notes.append(f"voxels of {sides} mm are unusual: check the units that its header states")
    return Place(tuple(tuple(float(value) for value in row) for row in affine), tuple(reading.notes))


def nearest_axes(affine: NDArray[np.float64]) -> tuple[tuple[int, int], ...]:
    """Return for each axis of voxels the nearest axis of the space that they are in, and 1 or -1 for its direction."""
    # nibabel takes long to import, and most batches are of rasters.
    from nibabel.orientations import io_orientation

    nearest = io_orientation(affine)  # type: ignore[no-untyped-call]
    return tuple((int(axis), int(sign)) for axis, sign in nearest)


class _Reading:
    """One header, and what was noticed while it was read."""

    def __init__(self, name: str, fields: NDArray[Any], shape: tuple[int, int, int]) -> None:
        self.name = name
        self.fields = fields
        self.shape = shape
        self.notes: list[str] = []
        self.mm_per_unit = _MM_PER_UNIT.get(int(fields["xyzt_units"]) & 7, 1.0)
        self._declared = np.abs(fields["pixdim"][1:4].astype(np.float64))

    def affine(self, voxel_size: VoxelSize | None) -> NDArray[np.float64]:
        """Return the 4 x 4 in the header's own unit.

        Raises:
            GeometryError: As of ``place_of``.
            UnreadableSceneError: When the quaternion is none.
        """
        if self.fields["sform_code"] > 0:
            return self._of_sform(voxel_size)
        if self.fields["qform_code"] > 0:
            return self._of_qform(self._sizes())
        self.notes.append("sform and qform codes are 0: where left and right are is a convention here, not a fact")
        return self._of_sizes(self._sizes())

    def _of_sform(self, voxel_size: VoxelSize | None) -> NDArray[np.float64]:
        affine = np.eye(4)
        affine[:3] = np.stack([self.fields[f"srow_{axis}"] for axis in "xyz"]).astype(np.float64)
        self._complete(affine[:3, :3])
        stated = self._declared > 0
        if not np.isfinite(self._declared).all() or not stated.all():
            self.notes.append("pixdim is not positive; spacing is taken from the affine")
            return affine
        share = self._disagreement(affine[:3, :3])
        if share > _ROUNDED and share <= _DIFFERENT:
            self.notes.append(
                f"{self._both(affine)}: {100 * share:.2g} % apart, as rounding makes them. The sform's are used"
            )
        if share > _DIFFERENT:
            affine = self._decided(affine, voxel_size)
        elif self.fields["qform_code"] > 0:
            self._compare_directions(affine)
        return affine

    def _disagreement(self, columns: NDArray[np.float64]) -> float:
        """Return the largest share by which pixdim differs from the sform; of sheared axes both lengths are meant."""
        lengths = np.linalg.norm(columns, axis=0)
        if not np.isfinite(lengths).all() or lengths.min() <= 0:
            return 0.0
        volume = abs(float(np.linalg.det(columns)))
        areas = [float(np.linalg.norm(np.cross(columns[:, axis - 2], columns[:, axis - 1]))) for axis in range(3)]
        heights = np.array([volume / area if area > 0 else 0.0 for area in areas])
        apart = [np.abs(along - self._declared) / self._declared for along in (lengths, heights)]
        return float(np.minimum(*apart).max())

    def _decided(self, affine: NDArray[np.float64], voxel_size: VoxelSize | None) -> NDArray[np.float64]:
        both = self._both(affine)
        if voxel_size is None:
            raise GeometryError(
                f"{self.name}: {both}, and volumes and labels differ with them. Mend the header, or say which "
                "is right: source.voxel_size (of analyse and evaluate: --voxel-size) is pixdim or sform"
            )
        self.notes.append(f"{both}; {voxel_size} is believed, as was asked for")
        if voxel_size == "sform":
            return affine
        if self.fields["qform_code"] > 0:
            return self._of_qform(self._declared)
        # As ITK has it: directions and origin of the sform, lengths of pixdim.
        scaled = affine.copy()
        scaled[:3, :3] *= self._declared / np.linalg.norm(affine[:3, :3], axis=0)
        return scaled

    def _both(self, affine: NDArray[np.float64]) -> str:
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        sizes = (" x ".join(f"{side * self.mm_per_unit:.5g}" for side in part) for part in (lengths, self._declared))
        return "the sform has voxels of {} mm, pixdim of {} mm".format(*sizes)

    def _compare_directions(self, affine: NDArray[np.float64]) -> None:
        try:
            other = self._of_qform(self._declared)
        except UnreadableSceneError:
            self.notes.append("the qform's quaternion is damaged; the sform is used")
            return
        if not _has_axes(affine) or not _has_axes(other):
            return
        if nearest_axes(affine) != nearest_axes(other) and not _is_tie(affine, other):
            self.notes.append("sform and qform turn the axes to other sides; the sform is used. Check left and right")

    def _sizes(self) -> NDArray[np.float64]:
        """Return pixdim as it is read where the affine rests on it."""
        sizes = self._declared.copy()
        if (self.fields["pixdim"][1:4] < 0).any():
            self.notes.append("pixdim is negative; its absolute values are used")
        for axis, length in enumerate(self.shape):
            if sizes[axis] == 0 and length == 1:
                sizes[axis] = 1.0
                self.notes.append(
                    "pixdim states no thickness of the single slice; it is taken for 1, and volumes in mL rest on it"
                )
        return sizes

    def _complete(self, columns: NDArray[np.float64]) -> None:
        """Give a single slice that has no third axis one square to the others, as thick as pixdim says."""
        missing = [axis for axis in range(3) if self.shape[axis] == 1 and not columns[:, axis].any()]
        if len(missing) != 1:
            return
        axis = missing[0]
        normal = np.cross(columns[:, axis - 2], columns[:, axis - 1])
        if not normal.any():
            return
        columns[:, axis] = normal / np.linalg.norm(normal) * self._sizes()[axis]
        self.notes.append("the sform has no third axis for the single slice; it is taken square to the others")

    def _of_qform(self, sizes: NDArray[np.float64]) -> NDArray[np.float64]:
        handed = float(self.fields["pixdim"][0])
        affine = np.eye(4)
        # Anything but -1, 0 above all, is read as 1 (nifti1.h, "orientation information").
        affine[:3, :3] = self._rotation() * (sizes * (1.0, 1.0, -1.0 if handed < 0 else 1.0))
        affine[:3, 3] = [float(self.fields[f"qoffset_{axis}"]) for axis in "xyz"]
        return affine

    def _rotation(self) -> NDArray[np.float64]:
        stored = np.array([float(self.fields[f"quatern_{part}"]) for part in "bcd"])
        square = float(stored @ stored)
        if not np.isfinite(square) or square > 1.0 + _ROUNDED_QUATERNION:
            raise UnreadableSceneError(
                f"{self.name}: the qform's quaternion {stored.tolist()} is longer than 1; mend sform or qform"
            )
        rest = 1.0 - square
        if rest < _NO_REST:
            rest, stored = 0.0, stored / np.sqrt(square)
        from nibabel.quaternions import quat2mat

        return np.asarray(quat2mat([np.sqrt(rest), *stored]), np.float64)  # type: ignore[no-untyped-call]

    def _of_sizes(self, sizes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Do as nibabel does where nothing says more: x runs to the left, and the middle is the origin."""
        affine = np.diag([-sizes[0], sizes[1], sizes[2], 1.0])
        affine[:3, 3] = -affine[:3, :3] @ ((np.array(self.shape) - 1) / 2.0)
        return affine


def _has_axes(affine: NDArray[np.float64]) -> bool:
    """Tell whether an affine has three axes that are finite, and do not fall together."""
    columns = affine[:3, :3]
    norms = np.linalg.norm(columns, axis=0)
    return bool(np.isfinite(affine).all() and norms.min() > 0 and abs(np.linalg.det(columns / norms)) >= _FLAT)


def _is_tie(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Tell whether two affines differ by no more than rounding, which may turn an oblique axis to another side."""
    scale = np.linalg.norm(one[:3, :3], axis=0)
    return bool((np.abs(one[:3, :3] - other[:3, :3]) <= _DIFFERENT * scale).all())
