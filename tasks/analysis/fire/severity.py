"""Severity within the burned area of a mask, window by window."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.analysis.masks.raster import on_grid
from tasks.analysis.subject import RasterMask
from tasks.answers.area import pixel_sides_m
from tasks.answers.fire.indices import indices_from
from tasks.answers.fire.measures import Rated
from tasks.answers.fire.offset import Offset, ring_offset
from tasks.answers.fire.severity import classify, table_of
from tasks.errors import BandError
from tasks.geometry.box import Box, split
from tasks.jobs.fire import FireAnalysis
from tasks.jobs.severity import SeverityTable
from tasks.scenes.raster.scene import RasterReader

# Rows whose bands and indices are in memory at a time: some ten float arrays per pixel.
_STRIP = 128


@dataclass(frozen=True, kw_only=True)
class SeverityReader:
    """Rates windows of a mask whose bands are open.

    Attributes:
        subject: The mask.
        settings: Of the job.
        table: Which class a value belongs to.
        offset: Taken off dNBR.
        reader: Of the bands that ``settings.bands`` name, on the mask's grid.
    """

    subject: RasterMask
    settings: FireAnalysis
    table: SeverityTable
    offset: Offset
    reader: RasterReader

    def rate(self, box: Box) -> Rated:
        """Return severity and dNBR of a window, burned or not."""
        strips = [self._rate_strip(strip.shifted(box.start)) for strip in split(box.shape, (_STRIP, box.shape[1]))]
        return Rated(
            np.concatenate([strip.classes for strip in strips]), np.concatenate([strip.dnbr for strip in strips])
        )

    def _rate_strip(self, box: Box) -> Rated:
        bands, observed = self.reader.read(box)
        indices = indices_from(bands, observed, self.settings)
        values = indices.index(self.table.index, self.offset.value)
        if values is None:
            values = np.full(box.shape, np.nan, np.float32)
        return Rated(classify(values, self.table), indices.dnbr - np.float32(self.offset.value))

    def read(self, box: Box) -> NDArray[np.uint8]:
        """Return the severity raster's numbers of a window: 0 outside the burned area, 255 where not observed."""
        labels = self.subject.read(box)
        classes = np.where(labels == self.settings.label, self.rate(box).classes, 0)
        return np.where(labels >= len(self.subject.classes), 255, classes).astype(np.uint8)


def why_unrated(subject: RasterMask, settings: FireAnalysis) -> str | None:
    """Return why a mask has no severity; None where it has."""
    if not settings.bands:
        return "the job names no bands for it: set analysis.dnbr, or analysis.pre and analysis.post"
    if subject.bands is None:
        return "only a mask is given, without the pictures"
    if table_of(settings).index != "dnbr" and settings.post is None:
        return f"{table_of(settings).index} needs the pre-fire NBR: set analysis.post beside analysis.dnbr"
    return None


@contextmanager
def opened_severity(subject: RasterMask, settings: FireAnalysis) -> Iterator[SeverityReader]:
    """Open the bands, take the offset, and rate windows for as long as the context lasts.

    Raises:
        BandError: When a band is not there.
    """
    if subject.bands is None:
        raise BandError(f"{subject.id}: only a mask is given, without the pictures that severity is taken from")
    with on_grid(subject.bands(settings.bands), subject.grid).open() as reader:
        offset = _offset(subject, settings, reader)
        yield SeverityReader(subject=subject, settings=settings, table=table_of(settings), offset=offset, reader=reader)


def _offset(subject: RasterMask, settings: FireAnalysis, reader: RasterReader) -> Offset:
    if not isinstance(settings.offset, str):
        return Offset(settings.offset, "given by the job")
    if settings.offset == "none":
        return Offset(0.0, "none")

    def dnbr(box: Box) -> NDArray[np.float32]:
        bands, observed = reader.read(box)
        seen = observed & (subject.read(box) < len(subject.classes))
        return indices_from(bands, seen, settings).dnbr

    sides = pixel_sides_m(subject.grid)
    if sides is None:
        return Offset(0.0, "none", None, "the raster's pixels have no size on the ground")
    return ring_offset(
        lambda box: subject.read(box) == settings.label,
        dnbr,
        shape=subject.grid.shape,
        pixel_m=sides,
        ring_m=settings.ring_m,
    )
