"""Which files are DICOM, by their first bytes. Knows no DICOM library."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

DICOMDIR = "DICOMDIR"
_SUFFIXES = (".dcm", ".ima", ".dicom")
# What is never opened to see whether it is DICOM: folders hold a hundred thousand of them.
_OTHERS = (".nii", ".nii.gz", ".tif", ".tiff", ".vrt", ".jp2", ".img", ".json", ".csv", ".xml", ".png", ".jpg", ".txt")
_MAGIC_OFFSET = 128
_HEAD_BYTES = _MAGIC_OFFSET + 4
# Without a preamble a file starts with a tag of group 2 or 8 and a type of two letters.
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08")
_FIRST_TYPES = (b"UL", b"UI", b"CS", b"SH", b"LO", b"DA", b"TM", b"OB", b"AE", b"PN")


def is_dicom(head: bytes, name: str) -> bool:
    """Tell whether a file is DICOM, by its first 132 bytes and its name."""
    if head[_MAGIC_OFFSET:_HEAD_BYTES] == b"DICM" or name.casefold().endswith(_SUFFIXES):
        return True
    return head[:2] in _FIRST_GROUPS and head[4:6] in _FIRST_TYPES


def is_dicom_file(path: Path) -> bool:
    """Tell the same of a file, which may not be readable."""
    try:
        with path.open("rb") as file:
            return is_dicom(file.read(_HEAD_BYTES), path.name)
    except OSError:
        return path.name.casefold().endswith(_SUFFIXES)


def dicom_below(folder: Path) -> Iterator[Path]:
    """Yield the DICOM files of a tree, in the order of their names; links to folders are not followed."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root) / name
            if name.startswith(".") or name.casefold().endswith(_OTHERS) or name.upper() == DICOMDIR:
                continue
            if path.is_file() and is_dicom_file(path):
                yield path
