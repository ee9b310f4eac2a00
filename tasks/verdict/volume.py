"""The verdict on a volume file: header, geometry, and its voxels as far as time allows."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import IO, cast

import numpy as np

from tasks.errors import EmptySceneError, UnreadableSceneError
from tasks.files.declared import is_local
from tasks.files.remote import first_bytes, url_of
from tasks.scenes.volume.header import VolumeHeader, volume_header
from tasks.verdict.verdict import Verdict

# Time after which a volume is taken for whole although it was not read to its end.
BUDGET_S = 8.0
_CHUNK_BYTES = 8 << 20
_HEAD_BYTES = 1 << 20
_UNSEEN = "behind a URL: only its beginning was looked at"
_BELIEVED_MM = (1e-4, 1e4)
_USUAL_MM = (0.01, 50.0)


def check_volume(path: str) -> Verdict:
    """Give the verdict on a NIfTI file.

    Raises:
        SceneError: When the file cannot be segmented.
    """
    with _local(path) as (file, is_whole):
        header = volume_header(file)
        warnings = [*_geometry_warnings(header), *(_voxel_warnings(header) if is_whole else (_UNSEEN,))]
    spacing = header.spacing_mm
    if not all(_BELIEVED_MM[0] <= side <= _BELIEVED_MM[1] for side in spacing):
        raise UnreadableSceneError(
            f"{Path(path).name}: voxels of {_sides(spacing)} mm are not believed. Mend pixdim, sform and the units"
        )
    facts = {
        "shape": list(header.file_shape),
        "dtype": header.dtype,
        "bands": 1,
        "spacing_mm": [round(side, 6) for side in spacing],
        "bytes": header.n_bytes,
    }
    message = f"{' x '.join(map(str, header.file_shape))} {header.dtype}, {_sides(spacing)} mm"
    return Verdict(path, "volume", True, None, message, facts, tuple(warnings))


@contextmanager
def _local(path: str) -> Iterator[tuple[Path, bool]]:
    """Give a file, and whether it is whole: of one behind a URL only the beginning is looked at."""
    if is_local(path):
        yield Path(path), True
        return
    start, size = first_bytes(path, _HEAD_BYTES)
    with TemporaryDirectory() as folder:
        file = Path(folder) / Path(url_of(path).split("?", 1)[0]).name
        file.write_bytes(start)
        if size is not None:
            # A hole as long as the rest: how much it can hold is part of the verdict.
            os.truncate(file, size)
        yield file, size is not None and len(start) >= size


def _geometry_warnings(header: VolumeHeader) -> Iterator[str]:
    if not header.is_placed:
        yield "sform and qform codes are 0: where left and right are is a convention here, not a fact"
    if not all(_USUAL_MM[0] <= side <= _USUAL_MM[1] for side in header.spacing_mm):
        yield f"voxels of {_sides(header.spacing_mm)} mm are unusual"
    declared = header.fields["pixdim"][1:4].astype(np.float64)
    if not np.all(np.isfinite(declared)) or np.any(declared[: len(header.file_shape)] <= 0):
        yield "pixdim is not positive; spacing is taken from the affine"


def _voxel_warnings(header: VolumeHeader) -> Iterator[str]:
    name = header.path.name
    lowest, highest, n_read = math.inf, -math.inf, 0
    started = monotonic()
    n_voxel_bytes = header.n_bytes - header.offset
    try:
        for values in _chunks(header):
            n_read += values.nbytes
            finite = values[np.isfinite(values)]
            if finite.size:
                lowest, highest = min(lowest, float(finite.min())), max(highest, float(finite.max()))
            if monotonic() - started > BUDGET_S:
                break
        else:
            if n_read < n_voxel_bytes:
                raise UnreadableSceneError(
                    f"{name}: truncated: {n_voxel_bytes} bytes of voxels expected, {n_read} there. Copy it again"
                )
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnreadableSceneError(
            f"{name}: gzip data damaged or truncated after {n_read} of {n_voxel_bytes} bytes of voxels ({error}). "
            "Copy it again"
        ) from error
    if n_read < n_voxel_bytes:
        yield f"only the first {n_read} of {n_voxel_bytes} bytes were read within {BUDGET_S:g} s"
    elif lowest > highest:
        raise EmptySceneError(f"{name}: no voxel holds a finite value. Check the file's source")
    if lowest == highest:
        yield f"every voxel is {lowest:g}"


def _chunks(header: VolumeHeader) -> Iterator[np.ndarray[tuple[int], np.dtype[np.generic]]]:
    dtype = np.dtype(header.dtype)
    with header.path.open("rb") as stored:
        file = cast("IO[bytes]", gzip.GzipFile(fileobj=stored)) if header.is_compressed else stored
        _skip(file, header.offset)
        left = header.n_bytes - header.offset
        while left > 0 and (data := file.read(min(_CHUNK_BYTES, left))):
            left -= len(data)
            yield np.frombuffer(data[: len(data) - len(data) % dtype.itemsize], dtype)
        # To the end of the stream and its checksum, unless it goes on where the header says that it ends.
        file.read(_CHUNK_BYTES)


def _skip(file: IO[bytes], n_bytes: int) -> None:
    while n_bytes > 0 and (data := file.read(min(_CHUNK_BYTES, n_bytes))):
        n_bytes -= len(data)


def _sides(spacing: tuple[float, ...]) -> str:
    return " x ".join(f"{side:g}" for side in spacing)
