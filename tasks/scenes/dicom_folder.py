"""Folders of DICOM, which is not read yet: known by names and by first bytes."""

from __future__ import annotations

from pathlib import Path

_EXTENSIONS = (".dcm", ".ima", ".dicom")
_MAGIC_OFFSET = 128


def holds_dicom(folder: Path) -> bool:
    """Tell whether DICOM is among the first hundred entries of a folder."""
    for path in sorted(folder.iterdir())[:100]:
        if path.is_file() and path.suffix.casefold() in _EXTENSIONS:
            return True
        if path.is_file() and _has_magic(path):
            return True
    return False


def _has_magic(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(_MAGIC_OFFSET + 4)[_MAGIC_OFFSET:] == b"DICM"
    except OSError:
        return False
