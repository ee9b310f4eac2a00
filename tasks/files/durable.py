"""Through to the disk: what a power cut must not take back."""

from __future__ import annotations

import os
from pathlib import Path

from tasks.files.room import writing


def sync(path: Path) -> None:
    """Write a file's bytes, or a folder's entries, through to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes) -> None:
    """Put a file in place in one step: a reader sees the old bytes or the new ones, also after a power cut."""
    part = path.with_name(f".{path.name}.part")
    with writing(path.name, path.parent):
        # Never through a link that lies in wait under the name.
        part.unlink(missing_ok=True)
        with part.open("xb") as file:
            file.write(content)
        sync(part)
        part.replace(path)
    sync(path.parent)
