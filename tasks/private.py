"""Files and folders that other users of the machine neither read nor write."""

from __future__ import annotations

import os
from pathlib import Path

from models.errors import SwatheError


def private_folder(path: Path) -> Path:
    """Make a folder for this user alone; one that is there already is closed to others.

    Raises:
        SwatheError: When it is there and somebody else's, or a link.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path.parent.resolve() / path.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _own(descriptor, path)
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)
    return path


def private_file(path: Path, text: str) -> None:
    """Write a file for this user alone; an older one of the name is replaced."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
        file.write(text)


def read_private(path: Path) -> str:
    """Return what a file of this user holds, after it was closed to others.

    Raises:
        SwatheError: When it is somebody else's, who then knows what it says, or a link.
        FileNotFoundError: When there is none.
    """
    descriptor = os.open(path.parent.resolve() / path.name, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor) as file:
        _own(descriptor, path)
        os.fchmod(descriptor, 0o600)
        return file.read()


def _own(descriptor: int, path: Path) -> None:
    owner = os.fstat(descriptor).st_uid
    if owner != os.geteuid():
        raise SwatheError(f"{path}: belongs to another user (number {owner}). Remove it, or name another --home")
