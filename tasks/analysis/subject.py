"""What an analysis looks at: a mask, wherever it comes from, and what is known beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.card import ClassEntry
from tasks.answers.area import ClassAreas
from tasks.geometry.box import Box
from tasks.geometry.raster_grid import RasterGrid
from tasks.jobs.analysis_section import AnalysisSection
from tasks.products.item import write_item
from tasks.reports.blocks import Section
from tasks.reports.legend import Caption
from tasks.reports.pictures.product_preview import attempt, raster_preview
from tasks.reports.pictures.raster_picture import RasterPicture, read_picture
from tasks.scenes.raster.scene import RasterScene
from tasks.scenes.volume.scene import VolumeScene

ReadLayer: TypeAlias = Callable[[Box], NDArray[np.unsignedinteger[Any]]]
OpenBands: TypeAlias = Callable[[tuple[str, ...]], RasterScene]


@dataclass(frozen=True, kw_only=True)
class RasterMask:
    """A class map on a raster's grid.

    Attributes:
        id: Of the scene.
        grid: Of the mask.
        classes: By number; the dtype's largest value, and anything beyond the classes, is not observed.
        read: Reads a window of class numbers ``(rows, cols)``.
        caption: What pictures say of it.
        confidence: Reads a window of the winning class's probability in percent, 255 where not observed; None
            where it was not kept.
        image: The picture that was segmented, on the same grid; None where only a mask is given.
        channels: Names of the image's bands.
        bands: Describes the scene with other bands than the model's, by their names under ``source.bands``.
        dates: ISO 8601 dates by role, where names carry them.
        nodata: The value that the file of a mask made elsewhere declares as not observed; None without a declaration.
    """

    id: str
    grid: RasterGrid
    classes: tuple[ClassEntry, ...]
    read: ReadLayer
    caption: Caption
    confidence: ReadLayer | None = None
    image: RasterScene | None = None
    channels: tuple[str, ...] = ()
    bands: OpenBands | None = None
    dates: dict[str, str] = field(default_factory=dict)
    nodata: float | None = None

    @cached_property
    def picture(self) -> RasterPicture | None:
        """Image and mask, decimated: read once, since all of the image has to be decoded for it."""
        return None if self.image is None else read_picture(self.image, self.channels, self.read)

    @property
    def names(self) -> list[str]:
        """Of the classes, by number."""
        return [entry.name for entry in self.classes]

    def write_preview(self, areas: ClassAreas, folder: Path, undrawn: list[str]) -> None:
        """Write ``preview.png`` where there is a picture; ``undrawn`` gets a warning where it cannot be drawn."""

        def draw() -> bytes | None:
            return None if self.picture is None else raster_preview(self, self.picture, areas)

        drawn = attempt("preview", draw, undrawn)
        if drawn is not None:
            (folder / "preview.png").write_bytes(drawn)

    def write_item(self, folder: Path, beside: Sequence[str]) -> None:
        """Write ``item.json`` of a product of this mask; ``beside`` names files that others write beside it."""
        write_item(folder, self.id, grid=self.grid, dates=self.dates.values(), classes=self.classes, beside=beside)


@dataclass(frozen=True, kw_only=True)
class VolumeMask:
    """A class map on a volume's grid, in the order ``depth, rows, cols`` of ``scene``.

    Attributes:
        id: Of the scene.
        scene: The volume that was segmented; where only a mask is given, the mask itself.
        has_image: Whether ``scene`` holds intensities.
        classes: By number; anything beyond is not observed.
        read: Reads a window of class numbers ``(depth, rows, cols)``.
        caption: What pictures say of it.
        confidence: As in ``RasterMask``.
        notes: What a user should know of how the files were read.
    """

    id: str
    scene: VolumeScene
    classes: tuple[ClassEntry, ...]
    read: ReadLayer
    caption: Caption
    has_image: bool = True
    confidence: ReadLayer | None = None
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Of the classes, by number."""
        return [entry.name for entry in self.classes]


@dataclass(frozen=True)
class Findings:
    """What an analysis found; files it has written into the product's folder itself.

    Attributes:
        headline: A few numbers for the batch table, units in their names.
        answers: Everything for ``summary.json``, as JSON can say it.
        sections: Of the report.
        warnings: What a reader has to know before believing the numbers.
    """

    headline: dict[str, Any]
    answers: dict[str, Any]
    sections: tuple[Section, ...] = ()
    warnings: tuple[str, ...] = ()

    def and_also(self, others: Findings) -> Findings:
        """Return these findings and then others."""
        return Findings(
            self.headline | others.headline,
            self.answers | others.answers,
            self.sections + others.sections,
            self.warnings + others.warnings,
        )


# A kind of analysis: from a mask, its section of the job and the folder of the product to what was found.
Answer: TypeAlias = Callable[[RasterMask | VolumeMask, AnalysisSection, Path], Findings]
