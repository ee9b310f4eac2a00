"""The verdict on a raster file: header, declared size, and a bounded look at its pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from models.plain import is_hollow
from tasks.errors import EmptySceneError, OversizedSceneError, UnsupportedSceneError
from tasks.files.declared import is_local
from tasks.geometry.box import Box, split
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
    first observed pixel where those hold none and the raster has no more than 64 million pixels.

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
    warnings = list(_warnings(header))
    with opened_raster(path) as dataset:
        _require_plausible(path, header, expected, dataset)
        if not _any_observed(dataset, header):
            if grid.rows * grid.cols <= _STREAMED_PIXELS:
                raise EmptySceneError(
                    f"{path}: no pixel holds an observation (all nodata, masked or NaN). Check the nodata value"
                )
            warnings.append("16 windows of the raster hold no observation; the rest was not looked at")
    facts = {
        "shape": list(grid.shape),
        "dtype": header.dtypes[0],
        "bands": n_bands,
        "descriptions": list(header.descriptions),
        "crs": _crs_name(grid.crs_wkt),
        "driver": header.driver,
        "bytes": expected,
    }
    message = f"{grid.rows} x {grid.cols}, {n_bands} x {header.dtypes[0]}, {facts['crs']}"
    return Verdict(path, "raster", True, None, message, facts, tuple(warnings))


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


def _any_observed(dataset: Any, header: Header) -> bool:  # noqa: ANN401
    rows, cols = header.grid.shape
    indexes = list(header.spectral) or list(dataset.indexes)
    whole = rows * cols * len(indexes) <= _WHOLE_PIXELS
    # Read to the end although a pixel was found: damage may lie anywhere.
    boxes = looked_at((rows, cols), len(indexes))
    found = [_is_observed(dataset, indexes, box) for box in boxes]
    if whole or any(found) or rows * cols > _STREAMED_PIXELS:
        return any(found)
    return any(_is_observed(dataset, indexes, box) for box in split((rows, cols), _STREAM_WINDOW))


def _probes(rows: int, cols: int) -> Iterator[Box]:
    for row in _starts(rows):
        for col in _starts(cols):
            yield Box((row, col), (min(rows, row + _PROBE), min(cols, col + _PROBE)))


def _starts(length: int) -> list[int]:
    last = max(0, length - _PROBE)
    return sorted({round(last * k / (_PROBES_PER_AXIS - 1)) for k in range(_PROBES_PER_AXIS)})


def _is_observed(dataset: Any, indexes: list[int], box: Box) -> bool:  # noqa: ANN401
    # One band after the other: a raster of hundreds of bands is no more memory than one of three.
    seen = False
    for index in indexes:
        values, observed = read_window(dataset, [index], box)
        if np.issubdtype(values.dtype, np.floating):
            observed &= np.isfinite(values)
        seen = seen or bool(observed.any())
    return seen


def _warnings(header: Header) -> Iterator[str]:
    if header.grid.crs_wkt is None:
        yield "no CRS: masks are made, areas are not"
    if header.driver == "VRT":
        yield "a VRT: pixels come from the files it names"
    if header.driver in ("PNG", "JPEG"):
        yield f"{header.driver}: a picture; its numbers are not physical values"


def _crs_name(wkt: str | None) -> str:
    if wkt is None:
        return "no CRS"
    return wkt.split('"')[1] if '"' in wkt else wkt
