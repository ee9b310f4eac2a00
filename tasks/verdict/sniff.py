"""What a file is, by its first bytes: names for what cannot be segmented."""

from __future__ import annotations

import zlib
from pathlib import Path

from tasks.dicom.files import is_dicom
from tasks.errors import UnreadableSceneError
from tasks.scenes.formats import FORMATS
from tasks.scenes.gzipped import MAGIC, GzipStream

_HEAD_BYTES = 1024
_NIFTI_SIZES = tuple(size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big"))
_VOLUME_SUFFIXES = (".nii", ".nii.gz")
_MGH_SUFFIXES = (".mgh", ".mgz", ".mgh.gz")


def sniff(path: Path) -> tuple[str, str]:
    """Tell what a file is.

    Returns:
        ``volume``, ``raster`` or ``dicom`` for what a reader should try, ``foreign`` for a format that none of ours
        reads; and the format's name.

    Raises:
        UnreadableSceneError: When the file is missing, empty, a Git-LFS pointer or damaged gzip data.
    """
    head = _head(path)
    name = path.name.casefold()
    if head.startswith(b"version https://git-lfs"):
        raise UnreadableSceneError(
            f"{path.name}: a Git-LFS pointer, not the data. Run 'git lfs pull' in the repository it came from"
        )
    if is_dicom(head, name):
        return "dicom", "a DICOM file"
    if name.endswith(_MGH_SUFFIXES):
        return "foreign", "an MGH file of FreeSurfer"
    for magic, format_name, is_raster in FORMATS:
        if head.startswith(magic):
            return ("raster" if is_raster else "foreign"), format_name
    if name.endswith(".img") and _begins_as_nifti(path.with_name(path.name[: -len(".img")] + ".hdr")):
        return "foreign", "the voxels of an Analyze or NIfTI pair (.hdr and .img)"
    if head[:4] in _NIFTI_SIZES or name.endswith(_VOLUME_SUFFIXES):
        return "volume", "a NIfTI file"
    return "raster", "no known format"


def _begins_as_nifti(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) in _NIFTI_SIZES


def _head(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise UnreadableSceneError(f"{path.name}: a folder, pipe or device, not a file")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if not head:
            raise UnreadableSceneError(f"{path.name}: the file is empty. Copy it again from its source")
        if not head.startswith(MAGIC):
            return head
        with path.open("rb") as file:
            return GzipStream(file).read(_HEAD_BYTES)
    except (EOFError, zlib.error) as error:
        raise UnreadableSceneError(f"{path.name}: damaged gzip data ({error}). Copy the file again") from error
    except OSError as error:
        raise UnreadableSceneError(f"{path.name}: cannot be opened: {error.strerror}. Check the path") from error
