"""The previews of products: what to draw, under which words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from numpy.typing import NDArray

from models.card import ClassEntry
from tasks.answers.area import ClassAreas
from tasks.geometry.box import Box
from tasks.reports.legend import Caption, LegendEntry
from tasks.reports.pictures.preview import render_raster_preview, stretch
from tasks.reports.pictures.raster_picture import RasterPicture


class DrawnMask(Protocol):
    """What a picture shows of a mask."""

    @property
    def classes(self) -> tuple[ClassEntry, ...]:
        """By number."""
        ...

    @property
    def read(self) -> Callable[[Box], NDArray[Any]]:
        """Reads a window of class numbers."""
        ...

    @property
    def caption(self) -> Caption:
        """The words above and below."""
        ...


def raster_preview(mask: DrawnMask, picture: RasterPicture, areas: ClassAreas) -> bytes:
    """Draw a raster product: the picture, the picture with its mask, areas in the legend."""
    legend = {}
    for label, entry in enumerate(mask.classes[1:], start=1):
        area = f"{areas.areas_ha[label]:,.1f} ha" if areas.areas_ha is not None else f"{areas.pixels[label]:,} pixels"
        legend[label] = LegendEntry(entry.name, entry.colour, area)
    stretched = stretch(picture.image, picture.observed)
    return render_raster_preview(stretched, picture.mask, legend, mask.caption, (picture.side_m, picture.side_m))
