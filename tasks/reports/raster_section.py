"""The first section of every raster's report: the picture, the map, the extent of every class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.answers.area import ClassAreas, PixelAreas, is_numbered
from tasks.geometry.raster_grid import RasterGrid
from tasks.reports.blocks import Block, Paragraph, Picture, Section, Table
from tasks.reports.legend import NOT_OBSERVED, LegendEntry
from tasks.reports.page_figures import number
from tasks.reports.pictures.charts import Bar, bar_chart
from tasks.reports.pictures.maps import map_picture
from tasks.reports.pictures.preview import stretch
from tasks.reports.pictures.product_preview import DrawnMask
from tasks.reports.pictures.raster_picture import RasterPicture, pixel_side_m, sparse_mask, steps_of


def map_section(mask: DrawnMask, picture: RasterPicture) -> Section:
    """Show a scene without and with its mask, on one scale."""
    return Section("Map", raster_maps(mask, picture))


def raster_maps(mask: DrawnMask, picture: RasterPicture, title: str = "The picture") -> tuple[Picture, Picture]:
    """Draw the picture, and the picture with the classes over it.

    Args:
        mask: What to draw.
        picture: The scene, and the mask, decimated.
        title: Of the picture, such as ``After the fire``.
    """
    pixels = stretch(picture.image, picture.observed)
    legend = _legend(mask, picture.mask)
    names = ", ".join(entry.name for entry in legend.values()) or "no class"
    stretched = "contrast stretched to its own 2nd to 98th percentile"
    return (
        map_picture(
            pixels,
            picture.mask,
            legend={},
            pixel_m=picture.pixel_m,
            alt=f"{title}, without the mask",
            caption=f"{title}; {stretched}.",
        ),
        map_picture(
            pixels,
            picture.mask,
            legend=legend,
            pixel_m=picture.pixel_m,
            alt=f"The same place with the mask laid over it: {names}",
            caption="The mask, outlined. The bar is true at the middle of the scene.",
        ),
    )


def plain_map(mask: DrawnMask, grid: RasterGrid) -> Picture:
    """Draw the classes on plain paper, where there is no picture to lay them over."""
    labels, (down, across) = sparse_mask(grid.shape, mask.read), steps_of(grid.shape)
    side = 0.0 if PixelAreas(grid).reason is not None else pixel_side_m(grid)
    legend = _legend(mask, labels)
    names = ", ".join(entry.name for entry in legend.values()) or "no class"
    return map_picture(
        None,
        labels,
        legend=legend,
        pixel_m=(side * down, side * across),
        alt=f"Map of {names}; no picture was given",
        caption="The mask alone.",
    )


def extent_section(areas: ClassAreas, mask: DrawnMask) -> Section:
    """Tell how far every class reaches, as a table and as bars."""
    blocks: list[Block] = [_extent_table(areas, [entry.name for entry in mask.classes])]
    if areas.areas_ha is None:
        blocks.append(Paragraph(f"Hectares are not computed: {areas.reason}", "note"))
    elif len(mask.classes) > 2:
        bars = [
            Bar(entry.name, areas.areas_ha[k], entry.colour)
            for k, entry in enumerate(mask.classes)
            if k and areas.is_shown(k, entry.name)
        ]
        blocks.append(bar_chart("Area of every class but the first", "ha", bars))
    return Section("Extent", tuple(blocks))


def _legend(mask: DrawnMask, drawn: NDArray[Any]) -> dict[int, LegendEntry]:
    """Return the classes that are drawn, and those that somebody named."""
    there = set(np.unique(drawn).tolist())
    return {
        k: LegendEntry(entry.name, entry.colour)
        for k, entry in enumerate(mask.classes)
        if k and (k in there or not is_numbered(k, entry.name))
    }


def _extent_table(areas: ClassAreas, names: list[str]) -> Table:
    total = sum(areas.pixels)
    hectares = areas.areas_ha or (None,) * len(names)
    rows = [
        (name, number(pixels), _hectares(area), number(100 * pixels / total) if total else "not computed")
        for k, (name, pixels, area) in enumerate(zip(names, areas.pixels, hectares, strict=True))
        if areas.is_shown(k, name)
    ]
    rows.append((NOT_OBSERVED, number(areas.not_observed_pixels), _hectares(areas.not_observed_ha), "\u2013"))
    note = "True areas on the ellipsoid, pixel by pixel. Percent of the pixels that were observed."
    return Table("Extent by class", ("Class", "Pixels", "ha", "% of observed"), tuple(rows), note)


def _hectares(area: float | None) -> str:
    return "not computed" if area is None else number(area)
