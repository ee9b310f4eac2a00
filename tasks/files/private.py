"""Files and folders that other users of the machine neither read nor write."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from models.errors import SwatheError

# What opening a link says where none is followed: of a file, and of what has to be a folder.
_LINKS = (errno.ELOOP, errno.ENOTDIR)


def private_folder(path: Path) -> Path:
    """Make a folder for this user alone; one that is there already is closed to others.

    Raises:
        SwatheError: When it is there and somebody else's, or no folder but a link.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = _open_own(path, os.O_DIRECTORY)
    os.fchmod(descriptor, 0o700)
    os.close(descriptor)
    return path


def private_file(path: Path, text: str) -> None:
    """Write a file for this user alone; an older one of the name is replaced."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def read_private(path: Path) -> str:
    """Return what a file of this user holds, after it was closed to others.

    Raises:
        SwatheError: When it is somebody else's, who then knows what it says, or a link.
        FileNotFoundError: When there is none.
    """
    with os.fdopen(_open_own(path)) as file:
        os.fchmod(file.fileno(), 0o600)
        return file.read()


def _open_own(path: Path, flags: int = 0) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | flags)
    except OSError as error:
        if error.errno not in _LINKS:
            raise
        raise SwatheError(f"{path}: is a link, or not what it should be. Remove it, or name another --home") from error
    owner = os.fstat(descriptor).st_uid
    if owner != os.geteuid():
        os.close(descriptor)
        raise SwatheError(f"{path}: belongs to another user (number {owner}). Remove it, or name another --home")
    return descriptor
