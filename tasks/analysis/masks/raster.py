"""Raster masks made elsewhere: their classes, what was not observed, and the pictures they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from os.path import isfile
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.windows import Window

from models.card import Card, ClassEntry
from tasks.analysis.masks.names import card_of, id_of_mask, numbered_class
from tasks.analysis.subject import RasterMask
from tasks.errors import EmptySceneError, UnsupportedSceneError
from tasks.geometry.box import Box, split
from tasks.geometry.raster_grid import RasterGrid
from tasks.inputs.naming import USUAL_DATES, dates_of
from tasks.jobs.job import Job
from tasks.jobs.source import Source
from tasks.reports.legend import Caption
from tasks.scenes.class_numbers import class_numbers, label_type, rescaled
from tasks.scenes.raster.class_names import class_names
from tasks.scenes.raster.header import opened_raster, read_header
from tasks.scenes.raster.scene import RasterScene, describe_raster
from tasks.scenes.stated import StatedBands

_WINDOW = (2048, 2048)


@dataclass(frozen=True)
class MaskLayer:
    """Windowed reads of one band of class numbers or percent.

    Attributes:
        path: Of the raster.
        nodata: What the file calls nodata; None where nothing.
        dtype: Of what is returned; its largest value is not observed.
    """

    path: str
    nodata: float | None
    dtype: str

    def __call__(self, box: Box) -> NDArray[np.unsignedinteger[Any]]:
        """Read a window ``(rows, cols)``.

        Raises:
            UnreadableSceneError: When the file is gone or damaged.
            UnsupportedSceneError: When a value is no class number.
        """
        with opened_raster(self.path) as dataset:
            window = Window.from_slices(*box.slices)
            stored = dataset.read(1, window=window)
            observed = dataset.read_masks(1, window=window) > 0
            stored = rescaled(stored, dataset.scales[0], dataset.offsets[0])
        if np.issubdtype(stored.dtype, np.floating):
            observed &= np.isfinite(stored)
        unseen = np.iinfo(self.dtype).max
        numbers = class_numbers(self.path, stored, observed, int(unseen))
        labels: NDArray[np.unsignedinteger[Any]] = numbers.astype(self.dtype)
        labels[~observed] = unseen
        return labels


def open_raster_mask(
    path: str | Path, job: Job | None = None, scene: str | None = None, files: Mapping[str, str] | None = None
) -> RasterMask:
    """Open a class map, wherever it comes from.

    Class names and colours come from its attribute table, else from the job's model where the mask holds no other
    classes, else its colour table, else numbers. What the file declares as nodata is not observed; without a
    declaration 255 is a class like any other.

    Args:
        path: Of the mask; a ``confidence.tif`` on the same grid beside it is taken along.
        job: Names the model's classes, the bands of the pictures and the dates.
        scene: Its id; the file's name, or its folder's where the file is called ``mask``.
        files: The pictures by role, as the job's source has them; None where only the mask is given.

    Raises:
        UnreadableSceneError: When the mask cannot be read.
        UnsupportedSceneError: When it is no class map of one band.
        EmptySceneError: When no pixel was observed.
    """
    path = Path(path).absolute()
    header = read_header(str(path))
    if header.spectral != (1,):
        raise UnsupportedSceneError(
            f"{path}: has {len(header.dtypes)} bands. A mask has one, and perhaps an alpha behind it: give a class map"
        )
    every = MaskLayer(str(path), header.nodata[0], "uint32")
    highest = _highest(every, header.grid, path)
    read = replace(every, dtype=label_type(highest))
    name = scene or id_of_mask(path)
    card = card_of(job, "raster")
    return RasterMask(
        id=name,
        grid=header.grid,
        classes=_classes(path, highest, int(np.iinfo(read.dtype).max), card),
        read=read,
        caption=Caption(f"{job.title or job.job} \u00b7 {name}" if job else name, ("a mask made elsewhere",)),
        confidence=_confidence(path, header.grid),
        image=_image(name, header.grid, job=job, card=card, files=files),
        channels=card.channels if card else (),
        bands=None if job is None or files is None else partial(open_bands, name, dict(files), job.source),
        dates=dates_of(name, job.source.dates if job else USUAL_DATES),
        nodata=header.nodata[0],
    )


def raster_mask_files(path: str | Path) -> dict[str, str]:
    """Return every file that is read with a mask, by role: what lies beside it is taken along."""
    path = Path(path).absolute()
    confidence, names = path.with_name("confidence.tif"), path.with_name(f"{path.name}.aux.xml")
    found = {"mask": str(path)}
    found |= {"confidence": str(confidence)} if confidence.is_file() and confidence != path else {}
    # Names of classes, and nodata that the raster itself cannot hold. A mask's name may leave no room for the ending.
    return found | ({"sidecar": str(names)} if isfile(names) else {})  # noqa: PTH113 - Path.is_file raises there


def open_bands(
    scene: str,
    files: Mapping[str, str],
    source: Source,
    names: tuple[str, ...],
    stated: StatedBands = MappingProxyType({}),
) -> RasterScene:
    """Describe a scene with the bands that are named, in their order; errors are those of ``describe_raster``."""
    return describe_raster(scene, files, source=source, channels=names, stated=stated)


def on_grid(scene: RasterScene, grid: RasterGrid) -> RasterScene:
    """Return a scene that is read on another grid: files that do not lie on it are interpolated.

    Raises:
        UnsupportedSceneError: When only one of the two has a CRS.
    """
    if scene.grid.lies_on(grid) and _same_crs(scene.grid.crs_wkt, grid.crs_wkt):
        return scene
    if (scene.grid.crs_wkt is None) != (grid.crs_wkt is None):
        raise UnsupportedSceneError(f"{scene.id}: only one of mask and pictures has a CRS. Give both one")
    files = tuple(
        replace(file, aligned=file.grid.lies_on(grid) and _same_crs(file.grid.crs_wkt, grid.crs_wkt))
        for file in scene.files
    )
    return replace(scene, grid=grid, files=files)


def _same_crs(one: str | None, other: str | None) -> bool:
    if one is None or other is None or one == other:
        return one == other
    return bool(CRS.from_wkt(one) == CRS.from_wkt(other))


def _highest(read: MaskLayer, grid: RasterGrid, path: Path) -> int:
    """Return the highest class number.

    Raises:
        EmptySceneError: When no pixel was observed.
        UnsupportedSceneError: When a value is no class number.
    """
    highest, unseen = -1, np.iinfo(read.dtype).max
    for box in split(grid.shape, _WINDOW):
        labels = read(box)
        seen = labels[labels < unseen]
        highest = max(highest, int(seen.max())) if seen.size else highest
    if highest < 0:
        raise EmptySceneError(f"{path}: no pixel of the mask was observed. Check its nodata value ({read.nodata})")
    return highest


def _classes(path: Path, highest: int, unseen: int, card: Card | None) -> tuple[ClassEntry, ...]:
    named = class_names(path)
    if named is None and card is not None and highest < card.n_classes:
        return card.classes
    named = named or {}
    count = max([highest, 1, *(value for value in named if value < unseen)]) + 1
    return tuple(named.get(number, numbered_class(number)) for number in range(count))


def _confidence(path: Path, grid: RasterGrid) -> MaskLayer | None:
    beside = path.with_name("confidence.tif")
    if not beside.is_file() or beside == path:
        return None
    header = read_header(str(beside))
    fits = header.grid.lies_on(grid) and header.dtypes == ("uint8",)
    return MaskLayer(str(beside), header.nodata[0], "uint8") if fits else None


def _image(
    name: str, grid: RasterGrid, job: Job | None, card: Card | None, files: Mapping[str, str] | None
) -> RasterScene | None:
    if job is None or card is None or files is None:
        return None
    return on_grid(describe_raster(name, files, job.source, card.channels), grid)
