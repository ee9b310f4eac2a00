"""The previews of products: what to draw, under which words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from numpy.typing import NDArray
from PIL import Image

from models.card import ClassEntry
from tasks.answers.area import ClassAreas
from tasks.answers.rounding import written
from tasks.geometry.box import Box
from tasks.reports.legend import Caption, LegendEntry
from tasks.reports.pictures.preview import render_raster_preview, stretch
from tasks.reports.pictures.raster_picture import RasterPicture

_Drawn = TypeVar("_Drawn")


# What drawing raises of a picture that it cannot draw; what cannot be read or written is another matter.
_CANNOT = (ValueError, IndexError, ArithmeticError, MemoryError, Image.DecompressionBombError)


def attempt(name: str, draw: Callable[[], _Drawn], undrawn: list[str]) -> _Drawn | None:
    """Draw a picture; one that cannot be drawn is left out of its product, which says so.

    Args:
        name: What it would have been: ``preview``.
        draw: Makes it.
        undrawn: Gets a warning.
    """
    try:
        return draw()
    except _CANNOT as error:
        undrawn.append(f"no {name}: it cannot be drawn ({type(error).__name__}: {error})")
        return None


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
    for label, entry in enumerate(mask.classes):
        if label == 0 or not areas.is_shown(label, entry.name):
            continue
        hectares = None if areas.areas_ha is None else areas.areas_ha[label]
        area = f"{areas.pixels[label]:,} pixels" if hectares is None else f"{written(hectares, 1)} ha"
        legend[label] = LegendEntry(entry.name, entry.colour, area)
    stretched = stretch(picture.image, picture.observed)
    return render_raster_preview(stretched, picture.mask, legend=legend, caption=mask.caption, pixel_m=picture.pixel_m)
