"""The shape features of PyRadiomics for one lesion, by its own definitions (radiomics/shape.py)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.answers.tumour.components import Part
from tasks.answers.tumour.mesh import mesh_size
from tasks.answers.tumour.outline import Outline, longest, longest_in_planes

# Of the largest axis: what rounding leaves of an axis that is not there.
_NO_AXIS = 1e-10
_FLAT = "all voxel centres of the lesion lie in one plane"
_STRAIGHT = "all voxel centres of the lesion lie on one line"
_ALONE = "the lesion is one voxel"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Shape of a lesion; lengths in mm. Null features have their reason in ``reasons``, by attribute.

    Attributes:
        mesh_volume_ml: MeshVolume.
        surface_mm2: SurfaceArea.
        surface_volume_ratio_per_mm: SurfaceVolumeRatio.
        sphericity: Sphericity.
        diameter_3d_mm: Maximum3DDiameter, the longest distance in space.
        diameter_slice_mm: Maximum2DDiameterSlice: over vertices of one depth, those between slices too.
        diameter_column_mm: Maximum2DDiameterColumn: of one row.
        diameter_row_mm: Maximum2DDiameterRow: of one column.
        major_axis_mm: MajorAxisLength.
        minor_axis_mm: MinorAxisLength.
        least_axis_mm: LeastAxisLength.
        elongation: Elongation.
        flatness: Flatness.
        reasons: Why a feature is null.
    """

    mesh_volume_ml: float
    surface_mm2: float
    surface_volume_ratio_per_mm: float
    sphericity: float
    diameter_3d_mm: float
    diameter_slice_mm: float
    diameter_column_mm: float
    diameter_row_mm: float
    major_axis_mm: float | None
    minor_axis_mm: float | None
    least_axis_mm: float | None
    elongation: float | None
    flatness: float | None
    reasons: dict[str, str]


def shape_of(part: Part, found: Outline) -> Shape:
    """Measure the shape of a lesion.

    Where PyRadiomics would say 0 because voxel centres span no axis, the feature is null.

    Args:
        part: The lesion, as depth, rows, cols.
        found: Its outline.
    """
    mesh = mesh_size(part)
    planar = [longest_in_planes(found, axis).length_mm for axis in range(3)]
    axes, reasons = _axes(part)
    major, minor, least = axes
    return Shape(
        mesh_volume_ml=mesh.volume_mm3 / 1000.0,
        surface_mm2=mesh.surface_mm2,
        surface_volume_ratio_per_mm=mesh.surface_mm2 / mesh.volume_mm3,
        sphericity=float((36.0 * np.pi * mesh.volume_mm3**2) ** (1.0 / 3.0)) / mesh.surface_mm2,
        diameter_3d_mm=longest(found).length_mm,
        diameter_slice_mm=planar[0],
        diameter_column_mm=planar[1],
        diameter_row_mm=planar[2],
        major_axis_mm=major,
        minor_axis_mm=minor,
        least_axis_mm=least,
        elongation=minor / major if major is not None and minor is not None else None,
        flatness=least / major if major is not None and least is not None else None,
        reasons=reasons,
    )


def _axes(part: Part) -> tuple[list[float | None], dict[str, str]]:
    """Return four times the root of each eigenvalue of the covariance (1 / N) of voxel centres."""
    values = np.sort(np.linalg.eigvalsh(_covariance(part)))[::-1]
    n_axes = int((values > _NO_AXIS * max(float(values[0]), _NO_AXIS)).sum())
    axes = [4.0 * float(np.sqrt(value)) if rank < n_axes else None for rank, value in enumerate(values)]
    missing = ("major_axis_mm", "minor_axis_mm", "least_axis_mm")[n_axes:]
    why = (_ALONE, _STRAIGHT, _FLAT, "")[n_axes]
    ratios = (("elongation", "flatness"), ("elongation", "flatness"), ("flatness",), ())[n_axes]
    return axes, dict.fromkeys((*missing, *ratios), why)


def _covariance(part: Part) -> NDArray[np.float64]:
    """Return the covariance of voxel centres in mm, from exact sums of integers over projections."""
    lengths = part.numbers.shape
    faces = {pair: np.zeros([lengths[axis] for axis in pair], np.int64) for pair in ((0, 1), (0, 2), (1, 2))}
    for start, stop in part.slabs():
        inside = part.planes(start, stop)[:, 1:-1, 1:-1]
        faces[0, 1][start:stop] = inside.sum(axis=2)
        faces[0, 2][start:stop] = inside.sum(axis=1)
        faces[1, 2] += inside.sum(axis=0)
    n = int(faces[0, 1].sum())
    lines = (faces[0, 1].sum(axis=1), faces[0, 1].sum(axis=0), faces[0, 2].sum(axis=0))
    places = [np.arange(length, dtype=np.int64) for length in lengths]
    sums = [int(line @ place) for line, place in zip(lines, places, strict=True)]
    # n times the covariance times n: whole numbers, so that nothing cancels.
    spread = np.zeros((3, 3))
    for axis, (line, place) in enumerate(zip(lines, places, strict=True)):
        spread[axis, axis] = n * int(line @ place**2) - sums[axis] ** 2
    for (one, other), face in faces.items():
        both = n * int(places[one] @ face @ places[other]) - sums[one] * sums[other]
        spread[one, other] = spread[other, one] = both
    return np.asarray(part.axes_mm @ (spread / n**2) @ part.axes_mm.T)
