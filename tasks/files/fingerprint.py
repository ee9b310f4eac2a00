"""SHA-256 of inputs, streamed: what a second run compares before it trusts the work of the first."""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from tasks.errors import UnreadableSceneError

_CHUNK_BYTES = 4 << 20
FileState: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True)
class Fingerprint:
    """What identifies an input.

    Attributes:
        sha256: Hexadecimal digest; it does not depend on where the files lie.
        content_hashed: Whether the bytes of every file were hashed; False where some lie behind a URL or a
            /vsi path and only their headers were.
    """

    sha256: str
    content_hashed: bool


def file_sha256(path: str | Path) -> str:
    """Hash a local file in pieces of 4 MiB.

    Raises:
        UnreadableSceneError: When the file cannot be read to its end.
    """
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise UnreadableSceneError(
            f"{path}: cannot be read: {error.strerror}. Check the path and its permissions"
        ) from error
    return digest.hexdigest()


def file_state(path: str | Path) -> FileState | None:
    """Return what changes whenever a file does, without reading it; None where there is none.

    Size, time of change, time of change of the entry itself, and inode: whoever puts another file of the same size in
    place can set its time, but not these two.
    """
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def dataset_members(path: str | Path) -> list[Path]:
    """Return a vector file or table, with the files beside it that belong to a shapefile."""
    if Path(path).suffix.lower() != ".shp":
        return [Path(path)]
    return sorted({*Path(path).parent.glob(f"{glob.escape(Path(path).stem)}.*"), Path(path)})


def dataset_sha256(path: str) -> str:
    """Hash a vector file or table; a shapefile with the files beside it that belong to it.

    Raises:
        UnreadableSceneError: When a file cannot be read to its end.
    """
    if Path(path).suffix.lower() != ".shp":
        return file_sha256(path)
    return combined_sha256((member.suffix, file_sha256(member)) for member in dataset_members(path))


def combined_sha256(parts: Iterable[tuple[str, str]]) -> str:
    """Hash named digests, in the order given."""
    digest = hashlib.sha256()
    for name, part in parts:
        digest.update(f"{name}\0{part}\n".encode())
    return digest.hexdigest()


def facts_sha256(facts: Any) -> str:  # noqa: ANN401 - whatever JSON or str() can say
    """Hash facts (headers, settings) by their JSON with sorted keys."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
