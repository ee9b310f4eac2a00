"""A volume and the classes in it: three planes, with millilitres in the legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np

from tasks.answers.rounding import written
from tasks.answers.volumes import ClassVolumes
from tasks.reports.legend import LegendEntry
from tasks.reports.pictures.planes import Section, volume_preview_slices, without_image
from tasks.reports.pictures.preview_volume import percentile_window, render_volume_preview
from tasks.reports.pictures.product_preview import DrawnMask
from tasks.scenes.volume.scene import VolumeScene

Window = tuple[float, float]
Modality = Literal["auto", "ct", "mr"]

# Soft tissue: level 40, width 400 HU. Air is -1000 HU, and no MR scanner stores values that low.
_SOFT_TISSUE: Window = (-160.0, 240.0)
_AIR_HU = -500.0


class DrawnVolume(DrawnMask, Protocol):
    """What a picture shows of a volume's mask."""

    @property
    def scene(self) -> VolumeScene:
        """The volume."""
        ...

    @property
    def has_image(self) -> bool:
        """Whether the volume holds intensities."""
        ...


def class_preview(mask: DrawnVolume, found: ClassVolumes) -> tuple[bytes, str]:
    """Draw three planes, and return them with what a caption says of their greys.

    Args:
        mask: The mask and its image.
        found: How much its classes fill.
    """
    sections = volume_preview_slices(mask.scene, mask.read)
    if not mask.has_image:
        sections = [without_image(section) for section in sections if section.is_marked]
    legend = {
        label: LegendEntry(entry.name, entry.colour, f"{written(found.volumes_ml[label], 1)} mL")
        for label, entry in enumerate(mask.classes)
        if label and found.is_shown(label, entry.name)
    }
    window, seen = grey_window(sections, has_image=mask.has_image)
    return render_volume_preview(sections, legend, mask.caption, window), seen


def grey_window(
    sections: Sequence[Section], *, has_image: bool, modality: Modality = "auto", window: Window | None = None
) -> tuple[Window, str]:
    """Return the values that become black and white in a picture of these sections, and what its caption says of it."""
    if not has_image:
        return (0.0, 1.0), "No image was given beside the mask."
    if window is not None:
        return window, f"Window {window[0]:g} to {window[1]:g}, as the job says."
    is_ct = modality == "ct"
    why = ""
    if modality == "auto":
        lowest = [float(np.nanmin(section.image)) for section in sections if np.isfinite(section.image).any()]
        is_ct = bool(lowest) and min(lowest) < _AIR_HU
        why = ", as values reach those of air" if is_ct else ", as no value is that of air"
    if is_ct:
        return _SOFT_TISSUE, f"Soft-tissue window, {_SOFT_TISSUE[0]:g} to {_SOFT_TISSUE[1]:g} HU{why}."
    low, high = percentile_window(sections)
    return (low, high), f"Grey from {low:.4g} to {high:.4g}, the 1st to the 99th percentile of what is shown{why}."
