"""Lesions with their measured diameters: three planes through the largest, and a montage of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tasks.answers.area import is_numbered
from tasks.answers.rounding import written
from tasks.answers.tumour.components import total_ml
from tasks.answers.tumour.measure import Measurement, PlacedLine
from tasks.jobs.tumour import TumourAnalysis
from tasks.reports.blocks import Picture
from tasks.reports.legend import LegendEntry
from tasks.reports.pictures.planes import (
    DrawnLine,
    Section,
    axis_of,
    on_plane,
    plane_section,
    volume_preview_slices,
    without_image,
)
from tasks.reports.pictures.preview_volume import render_volume_preview
from tasks.reports.volume_picture import DrawnVolume, Window, grey_window
from tasks.scenes.volume.scene import VolumeScene

_MOST_LESIONS = 6
_LEAST_SIDE_MM = 60.0
_AROUND = 2.2


def tumour_preview(mask: DrawnVolume, found: Sequence[Measurement], settings: TumourAnalysis) -> bytes:
    """Draw three planes through the largest lesion, both diameters on the axial one, volumes in the legend.

    Args:
        mask: The mask and its image.
        found: Its lesions, largest first.
        settings: Of the job: modality and window.
    """
    sections = _previewed(mask, found)
    return render_volume_preview(sections, _legend(mask, found), mask.caption, _window(mask, sections, settings)[0])


def _previewed(mask: DrawnVolume, found: Sequence[Measurement]) -> list[Section]:
    sections = _planes(mask, found[0]) if found and found[0].long else volume_preview_slices(mask.scene, mask.read)
    if mask.has_image:
        return sections
    # A panel of the image alone would be empty.
    return [without_image(section) for section in sections if section.is_marked]


def lesion_pictures(
    mask: DrawnVolume, found: Sequence[Measurement], settings: TumourAnalysis, preview: bytes
) -> tuple[Picture, ...]:
    """Return the pictures of a report: the preview, and a montage where there is more than one lesion.

    Args:
        mask: The mask and its image.
        found: Its lesions, largest first.
        settings: Of the job: modality and window.
        preview: As ``tumour_preview`` draws it.
    """
    measured = [item for item in found if item.long is not None][:_MOST_LESIONS]
    _, seen = _window(mask, _previewed(mask, found), settings)
    if not measured:
        return (Picture(preview, "Three planes through the middle of the volume; the mask holds no lesion.", seen),)
    first = Picture(
        preview,
        f"Axial, coronal and sagittal plane through lesion {measured[0].lesion.id}, the largest, with its "
        f"diameters of {_sizes(measured[0])} drawn on the axial one.",
        f"Patient's right on the left. {seen}",
    )
    if len(measured) == 1:
        return (first,)
    sections = [_cropped(mask, item) for item in measured]
    sections = [without_image(section) for section in sections] if not mask.has_image else sections
    window, seen = _window(mask, sections, settings)
    drawn = render_volume_preview(sections, _legend(mask, found), mask.caption, window, one_scale=False)
    alt = "; ".join(f"lesion {item.lesion.id}: {_sizes(item)}" for item in measured)
    return first, Picture(drawn, f"The axial slices in which lesions were measured. {alt}.", seen)


def _planes(mask: DrawnVolume, largest: Measurement) -> list[Section]:
    scene = mask.scene
    axial = axis_of(scene.codes, "SI")
    point = [round(value) for value in largest.lesion.centroid_voxel]
    point[axial] = largest.slice_index or 0
    at = tuple(point)
    first = _measured(mask, largest, at)
    title = first.title.removesuffix(_named(largest)) + "   image alone"
    alone = replace(first, title=title, is_marked=False, lines=())
    others = [
        plane_section(scene, mask.read, plane=plane, index=point[axis_of(scene.codes, world)], point=at)
        for plane, world in (("coronal", "AP"), ("sagittal", "RL"))
    ]
    return [first, alone, *others]


def _measured(mask: DrawnVolume, found: Measurement, point: tuple[int, ...]) -> Section:
    axial = axis_of(mask.scene.codes, "SI")
    section = plane_section(mask.scene, mask.read, plane="axial", index=point[axial], point=point)
    lines = tuple(_drawn(mask.scene, line) for line in (found.long, found.short) if line is not None)
    return replace(section, lines=lines, cross=None, title=section.title + _named(found))


def _named(found: Measurement) -> str:
    return f"   lesion {found.lesion.id}"


def _drawn(scene: VolumeScene, line: PlacedLine) -> DrawnLine:
    start, stop = (on_plane(scene, "axial", end) for end in line.ends_voxel)
    return DrawnLine(start, stop, f"{written(line.length_mm, 1)} mm")


def _cropped(mask: DrawnVolume, found: Measurement) -> Section:
    """Return the measured slice, cut to the lesion and as much again round it."""
    point = [round(value) for value in found.lesion.centroid_voxel]
    point[axis_of(mask.scene.codes, "SI")] = found.slice_index or 0
    section = _measured(mask, found, tuple(point))
    longest = 0.0 if found.long is None else found.long.length_mm
    side = max(_LEAST_SIDE_MM, _AROUND * longest)
    ends = [end for line in section.lines for end in (line.start, line.stop)]
    low, high = [], []
    for axis, (length, pixel_mm) in enumerate(zip(section.image.shape, section.pixel_mm, strict=True)):
        middle = (min(end[axis] for end in ends) + max(end[axis] for end in ends)) / 2.0
        low.append(max(0, round(middle - side / 2.0 / pixel_mm)))
        high.append(min(length, round(middle + side / 2.0 / pixel_mm) + 1))
    window = (slice(low[0], high[0]), slice(low[1], high[1]))

    def moved(end: tuple[float, float]) -> tuple[float, float]:
        return end[0] - low[0], end[1] - low[1]

    lines = tuple(replace(line, start=moved(line.start), stop=moved(line.stop)) for line in section.lines)
    return replace(section, image=section.image[window], mask=section.mask[window], lines=lines)


def _legend(mask: DrawnVolume, found: Sequence[Measurement]) -> dict[int, LegendEntry]:
    legend = {}
    for label, entry in enumerate(mask.classes[1:], start=1):
        lesions = [item.lesion for item in found if item.lesion.label == label]
        if not lesions and is_numbered(label, entry.name):
            continue
        text = f"{written(total_ml(lesions), 1)} mL" if lesions else ""
        legend[label] = LegendEntry(entry.name, entry.colour, text)
    return legend


def _window(mask: DrawnVolume, sections: Sequence[Section], settings: TumourAnalysis) -> tuple[Window, str]:
    return grey_window(sections, has_image=mask.has_image, modality=settings.modality, window=settings.window)


def _sizes(found: Measurement) -> str:
    long, short = (0.0 if line is None else line.length_mm for line in (found.long, found.short))
    return f"{written(long, 1)} by {written(short, 1)} mm"
