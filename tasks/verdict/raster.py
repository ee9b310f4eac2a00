"""The verdict on a raster file: header, declared size, and a bounded look at its pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from models.plain import is_hollow
from tasks.errors import EmptySceneError, OversizedSceneError, UnsupportedSceneError
from tasks.files.declared import is_local
from tasks.geometry.box import Box, split
from tasks.geometry.raster_grid import RasterGrid
from tasks.scenes.raster.align import read_window
from tasks.scenes.raster.header import Header, opened_raster, read_header
from tasks.verdict.verdict import Verdict

MAX_PIXELS = 1 << 40
# Sparse files declare what they do not hold; above this a file must hold at least 1/4000 of what it declares
# (DEFLATE reaches 1/1032, and other codecs some times that).
SPARSE_BYTES = 1 << 30
MAX_RATIO = 4000
MAX_BLOCK_BYTES = 512 << 20
_WHOLE_PIXELS = 4 << 20
_STREAMED_PIXELS = 64 << 20
_PROBE = 256
_PROBES_PER_AXIS = 4
_STREAM_WINDOW = (512, 2048)


def check_raster(path: str) -> Verdict:
    """Give the verdict on a raster file, URL or /vsi path.

    Up to 4 million values are decoded entirely; larger rasters in 16 windows that include the corners, and on to the
    first observed pixels that differ where those hold none and the raster has no more than 64 million pixels.

    Raises:
        SceneError: When the file cannot be segmented.
    """
    _require_bands(path)
    header = read_header(path)
    grid = header.grid
    n_bands = len(header.dtypes)
    expected = grid.rows * grid.cols * sum(np.dtype(dtype).itemsize for dtype in header.dtypes)
    if grid.rows < 1 or grid.cols < 1:
        raise EmptySceneError(f"{path}: the raster is {grid.rows} x {grid.cols}. Nothing can be segmented")
    warnings, unseen = tuple(_warnings(path, header)), tuple[str, ...]()
    with opened_raster(path) as dataset:
        _require_plausible(path, header, expected, dataset)
        found = _look(dataset, header)
    if not found.ranges:
        if found.is_whole:
            raise EmptySceneError(
                f"{path}: no pixel holds an observation (all nodata, masked or NaN). Check the nodata value"
            )
        unseen = ("16 windows of the raster hold no observation; the rest was not looked at",)
    facts = {
        "shape": list(grid.shape),
        "dtype": header.dtypes[0],
        "bands": n_bands,
        "descriptions": list(header.descriptions),
        "crs": _crs_name(grid),
        "driver": header.driver,
        "bytes": expected,
        "constant_bands": found.constant,
        "spectral": list(header.spectral),
    }
    message = f"{grid.rows} x {grid.cols}, {n_bands} x {header.dtypes[0]}, {facts['crs']}"
    return Verdict(
        path=path, kind="raster", go=True, error=None, message=message, facts=facts, warnings=warnings, unseen=unseen
    )


def _require_bands(path: str) -> None:
    if is_local(path) and is_hollow(Path(path), Path(path).stat()):
        raise OversizedSceneError(f"{path}: a sparse file, with next to nothing in it. Copy it again from its source")
    with opened_raster(path) as dataset:
        if dataset.count == 0:
            raise UnsupportedSceneError(
                f"{path}: a container of {len(dataset.subdatasets)} subdatasets. Name one of them: "
                f"{', '.join(dataset.subdatasets[:3]) or 'none found'}"
            )


def _require_plausible(path: str, header: Header, expected: int, dataset: Any) -> None:  # noqa: ANN401
    rows, cols = header.grid.shape
    if rows * cols > MAX_PIXELS:
        raise OversizedSceneError(f"{path}: declares {rows} x {cols} pixels; more than 2^40 is not believed")
    held = sum(Path(name).stat().st_size for name in dataset.files if is_local(name) and Path(name).is_file())
    if header.driver != "VRT" and held and expected > max(SPARSE_BYTES, MAX_RATIO * held):
        raise OversizedSceneError(
            f"{path}: declares {expected} bytes of pixels and is {held} bytes long; more than {MAX_RATIO} to one is "
            "not believed. The header is damaged, or the raster is sparse and holds next to nothing"
        )
    block = max(
        math.prod(shape) * np.dtype(dtype).itemsize
        for shape, dtype in zip(dataset.block_shapes, header.dtypes, strict=True)
    )
    if block > MAX_BLOCK_BYTES:
        raise OversizedSceneError(
            f"{path}: stored in blocks of {block} bytes, each of which has to be decoded at once. Rewrite it tiled "
            "(gdal_translate -of COG)"
        )


def looked_at(shape: tuple[int, int], n_bands: int) -> list[Box]:
    """Return the windows of a raster that a verdict looks at: all of a small one, 16 of a larger one."""
    if math.prod(shape) * n_bands <= _WHOLE_PIXELS:
        return list(split(shape, _STREAM_WINDOW))
    return list(_probes(*shape))


@dataclass
class _Look:
    """What pixels showed.

    Attributes:
        n_pixels: Of the raster.
        is_whole: Whether every one was looked at.
        ranges: Lowest and highest observed value by band; a band without any is not there.
    """

    n_pixels: int
    is_whole: bool
    ranges: dict[int, tuple[float, float]] = field(default_factory=dict)

    @property
    def constant(self) -> dict[str, float]:
        """Values of bands that hold one everywhere, by number; none where not all was looked at."""
        if not self.is_whole or self.n_pixels < 2:
            return {}
        return {str(band): low for band, (low, high) in self.ranges.items() if low == high}

    def differs(self) -> bool:
        """Tell whether more pixels would tell nothing: there are some, and in each band that has any they differ."""
        return bool(self.ranges) and all(low < high for low, high in self.ranges.values())

    def take(self, dataset: Any, indexes: list[int], box: Box) -> None:  # noqa: ANN401
        """Look at a window; one band after the other, so that hundreds of bands are no more memory than three."""
        for index in indexes:
            values, observed = read_window(dataset, [index], box)
            if np.issubdtype(values.dtype, np.floating):
                observed &= np.isfinite(values)
            if observed.any():
                seen = values[observed]
                low, high = self.ranges.get(index, (math.inf, -math.inf))
                self.ranges[index] = min(low, float(seen.min())), max(high, float(seen.max()))


def _look(dataset: Any, header: Header) -> _Look:  # noqa: ANN401
    rows, cols = header.grid.shape
    indexes = list(header.spectral) or list(dataset.indexes)
    found = _Look(rows * cols, is_whole=rows * cols * len(indexes) <= _WHOLE_PIXELS)
    # Read to the end although a pixel was found: damage may lie anywhere.
    for box in looked_at((rows, cols), len(indexes)):
        found.take(dataset, indexes, box)
    if found.is_whole or found.differs() or rows * cols > _STREAMED_PIXELS:
        return found
    for box in split((rows, cols), _STREAM_WINDOW):
        found.take(dataset, indexes, box)
        if found.differs():
            return found
    return replace(found, is_whole=True)


def _probes(rows: int, cols: int) -> Iterator[Box]:
    for row in _starts(rows):
        for col in _starts(cols):
            yield Box((row, col), (min(rows, row + _PROBE), min(cols, col + _PROBE)))


def _starts(length: int) -> list[int]:
    last = max(0, length - _PROBE)
    return sorted({round(last * k / (_PROBES_PER_AXIS - 1)) for k in range(_PROBES_PER_AXIS)})


def _warnings(path: str, header: Header) -> Iterator[str]:
    # In the words of the scene's notes, which stand beside them.
    if header.grid.unplaced is not None:
        yield f"{header.grid.unplaced}: areas cannot be computed"
    if header.driver == "VRT":
        yield f"{path.rsplit('/', 1)[-1]}: a VRT; pixels come from the files it names"
    if header.driver in ("PNG", "JPEG"):
        yield f"{header.driver}: a picture; its numbers are not physical values"


def _crs_name(grid: RasterGrid) -> str:
    control = grid.ground_control
    wkt = grid.crs_wkt if control is None else control.crs_wkt
    name = "no CRS" if wkt is None else wkt.split('"')[1] if '"' in wkt else wkt
    return name if control is None else f"{name} by {len(control.points)} ground control points"
