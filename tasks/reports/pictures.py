"""The previews of products: what to draw, under which words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.card import ClassEntry
from tasks.answers.area import ClassAreas, PixelAreas
from tasks.box import Box
from tasks.reports.drawing import Caption, LegendEntry
from tasks.reports.preview import render_raster_preview, stretch
from tasks.reports.raster_picture import read_picture
from tasks.scenes.raster import RasterScene


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


class DrawnRasterMask(DrawnMask, Protocol):
    """What a picture shows of a raster's mask."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the picture's bands."""
        ...


def raster_preview(mask: DrawnRasterMask, image: RasterScene, areas: ClassAreas) -> bytes:
    """Draw a raster product: the picture, the picture with its mask, areas in the legend."""
    picture = read_picture(image, mask.channels, mask.read)
    legend = {}
    for label, entry in enumerate(mask.classes[1:], start=1):
        area = f"{areas.areas_ha[label]:,.1f} ha" if areas.areas_ha is not None else f"{areas.pixels[label]:,} pixels"
        legend[label] = LegendEntry(entry.name, entry.colour, area)
    side = pixel_side_m(image) * picture.step
    stretched = stretch(picture.image, picture.observed)
    return render_raster_preview(stretched, picture.mask, legend, mask.caption, (side, side))


def pixel_side_m(scene: RasterScene) -> float:
    """Return the side of the middle pixel on the ground; 1 where the raster is not tied to the Earth."""
    areas = PixelAreas(scene.grid)
    if areas.reason is not None:
        return 1.0
    row, col = (n // 2 for n in scene.frame.native_shape)
    return float(np.sqrt(areas.window(Box((row, col), (row + 1, col + 1))).item())) or 1.0
