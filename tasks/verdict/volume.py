"""The verdict on a volume file: header, geometry, and its voxels as far as time allows."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.errors import EmptySceneError, UnreadableSceneError
from tasks.files.declared import is_local
from tasks.files.remote import first_bytes, url_of
from tasks.jobs.source import VoxelSize
from tasks.scenes.gzipped import GzipStream
from tasks.scenes.volume.header import VolumeHeader, volume_header
from tasks.verdict.plausible import Expected, weigh_volume
from tasks.verdict.verdict import Verdict

# Time after which a volume is taken for whole although it was not read to its end.
BUDGET_S = 8.0
_CHUNK_BYTES = 8 << 20
_SAMPLED = 100_000
_HEAD_BYTES = 1 << 20
_UNSEEN = "behind a URL: only its beginning was looked at"
_SURPLUS = "bytes stand behind the gzip data, as transfers and mailers add them; they are ignored"


def check_volume(path: str, voxel_size: VoxelSize | None = None, expected: Expected | None = None) -> Verdict:
    """Give the verdict on a NIfTI file.

    Args:
        path: The file, or a URL.
        voxel_size: Which to believe where sform and pixdim differ; None refuses.
        expected: What its values are said to be; None where nobody says.

    Raises:
        ImpossibleValuesError: When its values cannot be that.
        SceneError: When the file cannot be segmented.
    """
    with _local(path) as (file, is_whole):
        header = volume_header(file, voxel_size)
        look = _look(header) if is_whole else _Look(unseen=(_UNSEEN,))
    spacing = header.spacing_mm
    facts = {
        "shape": list(header.file_shape),
        "dtype": header.dtype,
        "bands": 1,
        "spacing_mm": [round(side, 6) for side in spacing],
        "bytes": header.n_bytes,
        "constant": look.constant,
    }
    message = f"{' x '.join(map(str, header.file_shape))} {header.dtype}, {_sides(spacing)} mm"
    warnings = (*header.notes, *look.warnings)
    if expected is not None and look.constant is None:
        warnings += weigh_volume(Path(path).name, look.sample, expected, slope=header.slope)
    if look.constant is not None:
        warnings += (f"every voxel is {look.constant:g}",)
    return Verdict(
        path=path,
        kind="volume",
        go=True,
        error=None,
        message=message,
        facts=facts,
        warnings=warnings,
        unseen=look.unseen,
    )


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


class _Source(Protocol):
    def read(self, n_bytes: int, /) -> bytes: ...


@dataclass(frozen=True)
class _Look:
    """What voxels showed.

    Attributes:
        constant: The value of all of them, where there is one; None also where not all were looked at.
        unseen: What was not looked at.
        warnings: Of the file that holds them.
        sample: Some of the finite values, after slope and intercept.
    """

    constant: float | None = None
    unseen: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    sample: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


def _look(header: VolumeHeader) -> _Look:
    with header.path.open("rb") as file:
        source = GzipStream(file) if header.is_compressed else file
        found = _ranged(header, source)
        if isinstance(source, GzipStream) and source.has_surplus:
            return replace(found, warnings=(_SURPLUS,))
    return found


def _ranged(header: VolumeHeader, source: _Source) -> _Look:
    name = header.path.name
    lowest, highest, n_read = math.inf, -math.inf, 0
    started = monotonic()
    n_voxel_bytes = header.n_bytes - header.offset
    step = max(1, math.prod(header.file_shape) // _SAMPLED)
    sampled: list[NDArray[np.float64]] = []
    try:
        for values in _chunks(header, source):
            n_read += values.nbytes
            finite = values[np.isfinite(values)]
            if finite.size:
                lowest, highest = min(lowest, float(finite.min())), max(highest, float(finite.max()))
                sampled.append(finite[::step] * float(header.slope) + header.intercept)
            if monotonic() - started > BUDGET_S:
                break
        else:
            if n_read < n_voxel_bytes:
                raise UnreadableSceneError(
                    f"{name}: truncated: {n_voxel_bytes} bytes of voxels expected, {n_read} there. Copy it again"
                )
    except (EOFError, zlib.error) as error:
        raise UnreadableSceneError(
            f"{name}: gzip data damaged or truncated after {n_read} of {n_voxel_bytes} bytes of voxels ({error}). "
            "Copy it again"
        ) from error
    sample = np.concatenate(sampled) if sampled else np.zeros(0)
    if n_read < n_voxel_bytes:
        return _Look(
            sample=sample, unseen=(f"only the first {n_read} of {n_voxel_bytes} bytes were read within {BUDGET_S:g} s",)
        )
    if lowest > highest:
        raise EmptySceneError(f"{name}: no voxel holds a finite value. Check the file's source")
    is_constant = lowest == highest and math.prod(header.file_shape) > 1
    return _Look(lowest * header.slope + header.intercept if is_constant else None, sample=sample)


def _chunks(header: VolumeHeader, source: _Source) -> Iterator[np.ndarray[tuple[int], np.dtype[np.generic]]]:
    dtype = np.dtype(header.dtype)
    _skip(source, header.offset)
    left, rest = header.n_bytes - header.offset, b""
    while left > 0 and (data := source.read(min(_CHUNK_BYTES, left))):
        left -= len(data)
        data = rest + data
        whole = len(data) - len(data) % dtype.itemsize
        rest = data[whole:]
        yield np.frombuffer(data[:whole], dtype)
    # To the end of the stream and its checksum, unless it goes on for long behind what the header says.
    _skip(source, _CHUNK_BYTES)


def _skip(source: _Source, n_bytes: int) -> None:
    while n_bytes > 0 and (data := source.read(min(_CHUNK_BYTES, n_bytes))):
        n_bytes -= len(data)


def _sides(spacing: tuple[float, ...]) -> str:
    return " x ".join(f"{side:g}" for side in spacing)
