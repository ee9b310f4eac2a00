"""Disks that are full, read-only or not ours: named, with what was to be written where, and what is free."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.errors import DiskFullError, StoreError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)
# The expectation counts bytes uncompressed; class maps have been seen to compress to a twentieth of that.
_CLEARLY = 20
# More than any piece that is written at once.
_NOTHING_BYTES = 1 << 20


@contextmanager
def writing(what: str, folder: Path) -> Iterator[None]:
    """Give an error of the file system its name while something is written.

    Args:
        what: Such as ``the block store``.
        folder: It is written below.

    Raises:
        DiskFullError: When the disk, or somebody's quota of it, is full.
        StoreError: When the folder may not be written to.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFullError(_full(what, folder, error.strerror)) from error
        if error.errno in _CLOSED:
            raise StoreError(f"{folder}: {what} cannot be written: {error.strerror}. Mend its permissions") from error
        raise
    except sqlite3.OperationalError as error:
        if "full" in str(error) or "disk I/O" in str(error):
            raise DiskFullError(_full(what, folder, str(error))) from error
        if "readonly" in str(error) or "unable to open" in str(error):
            raise StoreError(f"{folder}: {what} cannot be written: {error}. Mend its permissions") from error
        raise


def require_room(folder: Path, disk_bytes: int, what: str) -> None:
    """Refuse work whose files clearly do not fit.

    Args:
        folder: They are written below.
        disk_bytes: That they take where nothing compresses.
        what: They are for.

    Raises:
        DiskFullError: When less is free than a twentieth of that.
    """
    free = shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free
    if free < disk_bytes // _CLEARLY:
        raise DiskFullError(
            f"{folder}: {what} takes up to {_mib(disk_bytes)} MiB, at least {_mib(disk_bytes // _CLEARLY)}, and "
            f"{_mib(free)} MiB are free. Make room, or name another --out"
        )


def blame_full_disk(what: str, folder: Path) -> None:
    """Name a full disk as the reason why a library could not write, of those that do not say it.

    Args:
        what: It wrote.
        folder: It wrote below, with what it has written still there.

    Raises:
        DiskFullError: When next to nothing is free.
    """
    if shutil.disk_usage(folder).free < _NOTHING_BYTES:
        raise DiskFullError(_full(what, folder, os.strerror(errno.ENOSPC)))


def require_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written to, before anything is done.

    Raises:
        DiskFullError: When its disk is full.
        StoreError: When it is read-only.
    """
    with writing("a first file", folder), tempfile.NamedTemporaryFile(dir=folder, prefix=".try-") as file:
        file.write(b"\0" * 4096)
        file.flush()
        os.fsync(file.fileno())


def _full(what: str, folder: Path, reason: str | None) -> str:
    try:
        free = f"{_mib(shutil.disk_usage(folder).free)} MiB are free there"
    except OSError:
        free = "it is gone"
    return f"{folder}: no room for {what} ({reason}; {free}). Make room and run again: what is done is kept"


def _mib(n_bytes: int) -> int:
    return n_bytes >> 20
