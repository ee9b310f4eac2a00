"""The preview of a volume: three planes through the largest lesion, and the axial slice that shows most of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tasks.box import Box
from tasks.reports.drawing import (
    PAGE,
    Caption,
    LegendEntry,
    as_png,
    caption_height,
    draw_caption,
    draw_legend,
    draw_scale_bar,
    foot_height,
    overlay,
    resized,
    write_over,
)
from tasks.scenes.volume import VolumeScene

_WIDTH = 1200
_MARGIN = 28
_GAP = 12
_HIGHEST_PANEL = 520
_SLAB = 16
_BLANK = (140, 140, 140)
_ABOUT_THE_SAME = 0.9
_FILL_SHARE = 0.22
_PERCENTILES = (1.0, 99.0)
_LINE, _LINE_EDGE = (255, 236, 64), (20, 20, 20)
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


@dataclass(frozen=True)
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
    first = plane_section(scene, read_mask, "axial", largest, point)
    if largest == point[axial]:
        first = replace(first, title=f"{first.title}   image alone", cross=None, is_marked=False)
    else:
        first = replace(first, title=f"{first.title}   largest area")
    meeting = {plane: point[axis_of(scene.codes, world[0])] for plane, world in _PLANES.items()}
    return [first, *(plane_section(scene, read_mask, plane, index, point) for plane, index in meeting.items())]


def render_volume_preview(
    sections: Sequence[Section],
    legend: Mapping[int, LegendEntry],
    caption: Caption,
    window: tuple[float, float] | None = None,
    *,
    one_scale: bool = True,
) -> bytes:
    """Draw planes of a volume with their mask, radiological view.

    Args:
        sections: What to show, two in a row.
        legend: What to colour, by label; the background is left out.
        caption: Title, lines and attribution.
        window: Values that become black and white; None for the 1st and 99th percentile of what is shown.
        one_scale: Whether a millimetre is as long in all of them; else each fills its place.

    Returns:
        PNG, 1200 pixels wide; the same arguments give the same bytes.
    """
    widest = (_WIDTH - 2 * _MARGIN - _GAP) // 2
    zooms = [_zoom(section, widest) for section in sections]
    zoomed = [(section, min(zooms) if one_scale else zoom) for section, zoom in zip(sections, zooms, strict=True)]
    rows = [zoomed[start : start + 2] for start in range(0, len(zoomed), 2)]
    heights = [max(_shape(section, zoom)[0] for section, zoom in row) for row in rows]
    top = caption_height(_MARGIN, caption)
    panels_end = top + sum(heights) + _GAP * (len(rows) - 1)
    scratch = Image.new("RGB", (_WIDTH, 1))
    legend_rows = draw_legend(scratch, (_MARGIN, 0), _WIDTH - 2 * _MARGIN, list(legend.values()), True)
    foot = foot_height(_WIDTH, _MARGIN, caption)
    canvas = Image.new("RGB", (_WIDTH, panels_end + 16 + legend_rows + foot), PAGE)
    limits = _window(sections) if window is None else window
    for row, height in zip(rows, heights, strict=True):
        for index, (section, zoom) in enumerate(row):
            panel = _panel(section, legend, (height, widest), (zoom, *limits))
            canvas.paste(panel, (_MARGIN + index * (widest + _GAP), top))
        top += height + _GAP
    unseen = any((section.mask == np.iinfo(section.mask.dtype).max).any() for section in sections)
    draw_legend(canvas, (_MARGIN, panels_end + 16), _WIDTH - 2 * _MARGIN, list(legend.values()), unseen)
    draw_caption(canvas, _MARGIN, caption)
    return as_png(canvas)


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


def on_plane(scene: VolumeScene, plane: str, voxel: Sequence[float]) -> tuple[float, float]:
    """Return row and column on the screen's plane of a point in voxels of the native turned grid."""
    places = []
    for world in _PLANES[plane][1:]:
        axis = axis_of(scene.codes, world)
        is_flipped = scene.codes[axis] == world[0]
        places.append(scene.frame.native_shape[axis] - 1 - voxel[axis] if is_flipped else voxel[axis])
    return float(places[0]), float(places[1])


def _window(sections: Sequence[Section]) -> tuple[float, float]:
    values = np.concatenate([section.image[np.isfinite(section.image)] for section in sections])
    if values.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(values.astype(np.float64), _PERCENTILES)
    return float(low), float(max(high, low + 1e-6))


def _zoom(section: Section, widest: int) -> float:
    height = section.image.shape[0] * section.pixel_mm[0]
    width = section.image.shape[1] * section.pixel_mm[1]
    return float(min(widest / width, _HIGHEST_PANEL / height))


def _shape(section: Section, zoom: float) -> tuple[int, int]:
    rows, cols = (n * mm for n, mm in zip(section.image.shape, section.pixel_mm, strict=True))
    return max(1, round(rows * zoom)), max(1, round(cols * zoom))


def _panel(
    section: Section, legend: Mapping[int, LegendEntry], shape: tuple[int, int], view: tuple[float, float, float]
) -> Image.Image:
    zoom, low, high = view
    grey = np.clip((section.image - low) / (high - low), 0.0, 1.0)
    grey = np.rint(np.nan_to_num(grey, nan=0.0) * 255).astype(np.uint8)
    inner = _shape(section, zoom)
    picture = np.repeat(resized(grey, inner, smooth=True)[..., None], 3, axis=2)
    drawn = legend if section.is_marked else {}
    coloured = overlay(picture, resized(section.mask, inner, smooth=False), drawn, _FILL_SHARE)
    panel = Image.new("RGB", (shape[1], shape[0]), _BLANK if section.is_blank else (0, 0, 0))
    corner = ((shape[1] - inner[1]) // 2, (shape[0] - inner[0]) // 2)
    panel.paste(Image.fromarray(coloured), corner)
    if section.cross is not None:
        _draw_cross(panel, corner, inner, section)
    for line in section.lines:
        _draw_line(panel, corner, inner, section, line)
    _draw_letters(panel, section)
    draw_scale_bar(panel, (14, shape[0] - 12), shape[1] * 2 // 3, 1 / zoom, "mm")
    return panel


def _draw_cross(panel: Image.Image, corner: tuple[int, int], inner: tuple[int, int], section: Section) -> None:
    """Mark the shared point at the picture's edges, where it hides nothing."""
    cross = section.cross or (0.0, 0.0)
    row, col = ((at + 0.5) / n * length for at, n, length in zip(cross, section.image.shape, inner, strict=True))
    left, top = corner
    draw, colour, tick = ImageDraw.Draw(panel), (255, 214, 102), 14
    for start, stop in ((left, left + tick), (left + inner[1] - tick, left + inner[1])):
        draw.line((start, top + row, stop, top + row), fill=colour, width=1)
    for start, stop in ((top, top + tick), (top + inner[0] - tick, top + inner[0])):
        draw.line((left + col, start, left + col, stop), fill=colour, width=1)


def _draw_line(
    panel: Image.Image, corner: tuple[int, int], inner: tuple[int, int], section: Section, line: DrawnLine
) -> None:
    ends = []
    for row, col in (line.start, line.stop):
        height, width = ((length / n) for length, n in zip(inner, section.image.shape, strict=True))
        ends.append((corner[0] + (col + 0.5) * width, corner[1] + (row + 0.5) * height))
    draw = ImageDraw.Draw(panel)
    for colour, thickness in ((_LINE_EDGE, 5), (_LINE, 2)):
        draw.line([*ends[0], *ends[1]], fill=colour, width=thickness)
    for x, y in ends:
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=_LINE, outline=_LINE_EDGE)
    x, y = max(ends)
    write_over(panel, (min(x + 8, panel.width - 80), y), line.text, 16, "lm")


def _draw_letters(panel: Image.Image, section: Section) -> None:
    width, height = panel.size
    places = ((width / 2, 14), (width / 2, height - 14), (16, height / 2), (width - 16, height / 2))
    for place, letter in zip(places, section.edges, strict=True):
        write_over(panel, place, letter, 17, "mm")
    write_over(panel, (14, 16), section.title, 17, "lm")
