"""Decompress a gzip file once, into a file that can be memory-mapped."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tasks.errors import OversizedSceneError, StoreError, UnreadableSceneError
from tasks.files.fingerprint import file_state
from tasks.scenes.gzipped import GzipStream

_log = logging.getLogger(__name__)
_CHUNK_BYTES = 1 << 20
_SPARE_BYTES = 64 << 20
# What may stand behind the last voxel; a bomb would go on for as long as somebody reads.
_MAX_SURPLUS_BYTES = 64 << 20


def spool(path: Path, n_bytes: int, folder: Path) -> Path:
    """Decompress the first ``n_bytes`` of ``path`` into ``folder``, unless that was done before.

    The name carries the source's path and state: a changed source is spooled again. An interrupted call leaves a
    ``.part`` file that the next one overwrites.

    Args:
        path: A gzip file.
        n_bytes: What its header says that it holds; more is checked, but not kept.
        folder: Where to; created when missing.

    Returns:
        The decompressed file, complete and on disk.

    Raises:
        UnreadableSceneError: When the file is damaged or holds fewer bytes.
        OversizedSceneError: When the folder's disk is too small, or the file goes on far beyond ``n_bytes``.
        StoreError: When the folder cannot be written.
    """
    spooled = folder / f"{_identity(path)}.nii"
    if spooled.is_file() and spooled.stat().st_size == n_bytes:
        return spooled
    part = spooled.with_suffix(".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _require_room(path, n_bytes, folder)
        with part.open("wb") as sink:
            _decompress(path, n_bytes, sink)
            sink.flush()
            os.fsync(sink.fileno())
        part.replace(spooled)
    except OSError as error:
        raise StoreError(
            f"{path.name}: cannot be decompressed into the work folder: {error.strerror}; make room "
            "or choose another --out"
        ) from error
    _log.debug("a volume was decompressed, %d bytes", n_bytes)
    return spooled


def _identity(path: Path) -> str:
    key = f"{path.resolve()}\n{file_state(path)}"
    return hashlib.sha256(key.encode()).hexdigest()[:24]


def _require_room(path: Path, n_bytes: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if n_bytes + _SPARE_BYTES > free:
        raise OversizedSceneError(
            f"{path.name}: needs {n_bytes / 2**20:.0f} MiB of disk to be decompressed, {free / 2**20:.0f} "
            "MiB are free; make room or choose another --out"
        )


def _decompress(path: Path, n_bytes: int, sink: IO[bytes]) -> None:
    missing, surplus = n_bytes, 0
    # Read to the end, also what is not kept: the checksum stands there.
    for chunk in _chunks(path):
        kept = min(missing, len(chunk))
        sink.write(chunk[:kept])
        missing -= kept
        surplus += len(chunk) - kept
        if surplus > _MAX_SURPLUS_BYTES:
            raise OversizedSceneError(
                f"{path.name}: goes on for more than {_MAX_SURPLUS_BYTES >> 20} MiB behind the last voxel that its "
                "header declares. The header is damaged, or the file is built to do harm"
            )
    if missing:
        raise UnreadableSceneError(
            f"{path.name}: truncated: its header promises {n_bytes} bytes, {n_bytes - missing} are there; "
            "copy the file again"
        )


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        source = GzipStream(file)
        while True:
            try:
                chunk = source.read(_CHUNK_BYTES)
            except (EOFError, zlib.error) as error:
                raise UnreadableSceneError(
                    f"{path.name}: damaged or truncated gzip data ({error}); copy the file again"
                ) from error
            if not chunk:
                return
            yield chunk
