"""Planes of a volume as they lie on the screen: axial, coronal and sagittal, in radiological view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.geometry.box import Box
from tasks.scenes.volume.scene import VolumeScene

_SLAB = 16
# Neither black, which is air, nor white, which is bone: there is no picture.
_GROUND = 0.55
_ABOUT_THE_SAME = 0.9
# Plane: the world axis it is cut across, then which way its rows and columns run on the screen. The patient's
# right is on the left, as radiologists look at it.
_PLANES = {"axial": ("SI", "AP", "RL"), "coronal": ("AP", "SI", "RL"), "sagittal": ("RL", "SI", "AP")}


@dataclass(frozen=True)
class DrawnLine:
    """A measured line on a plane.

    Attributes:
        start: Row and column on the screen's plane, in its pixels; centres are whole.
        stop: See ``start``.
        text: Written beside its middle.
    """

    start: tuple[float, float]
    stop: tuple[float, float]
    text: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """One plane of a volume, as it lies on the screen.

    Attributes:
        title: Plane and position.
        image: Float32 ``(rows, cols)``; NaN where nothing finite was stored.
        mask: ``(rows, cols)``.
        pixel_mm: Spacing of rows and of columns.
        edges: Letters of the patient's sides: top, bottom, left, right.
        cross: Row and column of the point that the planes share; None where the plane does not hold it.
        is_marked: Whether the mask is drawn.
        lines: Measured on this plane.
        is_blank: Whether there is no picture, and the ground says nothing.
    """

    title: str
    image: NDArray[np.float32]
    mask: NDArray[Any]
    pixel_mm: tuple[float, float]
    edges: tuple[str, str, str, str]
    cross: tuple[float, float] | None
    is_marked: bool = True
    lines: tuple[DrawnLine, ...] = ()
    is_blank: bool = False


def volume_preview_slices(
    scene: VolumeScene, read_mask: Callable[[Box], NDArray[Any]], focus: tuple[float, ...] | None = None
) -> list[Section]:
    """Read the planes of a preview.

    Args:
        scene: The volume.
        read_mask: Reads a window of the mask in the native turned grid.
        focus: Where the planes meet, in voxels of that grid: the largest lesion's centroid. None for the middle.

    Returns:
        Four: axial with the largest marked area, then axial, coronal and sagittal through ``focus``. Where the
        two axial ones show about the same, the first is the second without its mask.
    """
    shape = scene.frame.native_shape
    point = tuple(length // 2 for length in shape) if focus is None else tuple(round(value) for value in focus)
    axial = axis_of(scene.codes, "SI")
    largest = _largest_slice(read_mask, shape, axial, point[axial])
    first = plane_section(scene, read_mask, plane="axial", index=largest, point=point)
    if largest == point[axial]:
        first = replace(first, title=f"{first.title}   image alone", cross=None, is_marked=False)
    else:
        first = replace(first, title=f"{first.title}   largest area")
    meeting = {plane: point[axis_of(scene.codes, world[0])] for plane, world in _PLANES.items()}
    return [
        first,
        *(plane_section(scene, read_mask, plane=plane, index=index, point=point) for plane, index in meeting.items()),
    ]


def plane_section(
    scene: VolumeScene,
    read_mask: Callable[[Box], NDArray[Any]],
    plane: str,
    index: int,
    point: tuple[int, ...],
) -> Section:
    """Read one plane as it lies on the screen.

    Args:
        scene: The volume.
        read_mask: Reads a window of the mask in the native turned grid.
        plane: ``axial``, ``coronal`` or ``sagittal``.
        index: Which, along the axis nearest to the plane's normal.
        point: What the planes share, in voxels.
    """
    across, down, right = _PLANES[plane]
    normal, row_axis, col_axis = (axis_of(scene.codes, world) for world in (across, down, right))
    low, high = [0, 0, 0], list(scene.frame.native_shape)
    low[normal], high[normal] = index, index + 1
    box = Box(tuple(low), tuple(high))
    # An axis that runs towards the side it starts from on the screen is flipped.
    flips = (scene.codes[row_axis] == down[0], scene.codes[col_axis] == right[0])
    step = tuple(slice(None, None, -1 if flip else 1) for flip in flips)

    def on_screen(volume: NDArray[Any]) -> NDArray[Any]:
        plane_of: NDArray[Any] = volume.transpose(normal, row_axis, col_axis)[0][step]
        return plane_of

    with scene.open() as reader:
        values, finite = reader.native(box)
    values[~finite] = np.nan
    shape = scene.frame.native_shape
    cross = [
        float(shape[axis] - 1 - point[axis] if flip else point[axis])
        for axis, flip in zip((row_axis, col_axis), flips, strict=True)
    ]
    spacing = scene.spacing_mm
    return Section(
        title=f"{plane}   {index + 1} / {shape[normal]}",
        image=on_screen(values),
        mask=on_screen(read_mask(box)),
        pixel_mm=(spacing[row_axis], spacing[col_axis]),
        edges=(down[0], down[1], right[0], right[1]),
        cross=(cross[0], cross[1]) if index == point[normal] else None,
    )


def without_image(section: Section) -> Section:
    """Return a plane of the mask alone."""
    return replace(section, image=np.full_like(section.image, _GROUND), is_blank=True)


def on_plane(scene: VolumeScene, plane: str, voxel: Sequence[float]) -> tuple[float, float]:
    """Return row and column on the screen's plane of a point in voxels of the native turned grid."""
    places = []
    for world in _PLANES[plane][1:]:
        axis = axis_of(scene.codes, world)
        is_flipped = scene.codes[axis] == world[0]
        places.append(scene.frame.native_shape[axis] - 1 - voxel[axis] if is_flipped else voxel[axis])
    return float(places[0]), float(places[1])


def axis_of(codes: str, world: str) -> int:
    """Return the axis that runs along one of the world's, such as ``SI``."""
    return next(axis for axis, code in enumerate(codes) if code in world)


def _largest_slice(read_mask: Callable[[Box], NDArray[Any]], shape: tuple[int, ...], axis: int, otherwise: int) -> int:
    areas = []
    for start in range(0, shape[axis], _SLAB):
        low, high = [0, 0, 0], list(shape)
        low[axis], high[axis] = start, min(start + _SLAB, shape[axis])
        labels = read_mask(Box(tuple(low), tuple(high)))
        marked = (labels > 0) & (labels < np.iinfo(labels.dtype).max)
        areas.append(marked.sum(axis=tuple(a for a in range(3) if a != axis)))
    area = np.concatenate(areas)
    return int(area.argmax()) if area[otherwise] < _ABOUT_THE_SAME * area.max() else otherwise
