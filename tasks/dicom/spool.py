"""A volume of DICOM as a file that can be memory-mapped, written once."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from tasks.dicom.reader import Reader
from tasks.dicom.scan import series_of
from tasks.dicom.suv import suv_factor
from tasks.errors import OversizedSceneError, StoreError
from tasks.files.fingerprint import combined_sha256, file_sha256
from tasks.jobs.source import DicomRule

_SPARE_BYTES = 64 << 20
_WIDEST_BYTES = 4


def spool_series(scene_id: str, files: Mapping[str, str], key: str, rule: DicomRule, folder: Path) -> Path:
    """Write a volume into a folder as an uncompressed NIfTI file, unless that was done before.

    The name carries the files' paths, sizes and times of change: a changed series is written again.

    Args:
        scene_id: For errors.
        files: Of the series, by any names.
        key: Which volume of them.
        rule: Says whether values are SUV.
        folder: Where to; created when missing.

    Raises:
        SceneError: When the series cannot be read.
        OversizedSceneError: When the folder's disk is too small.
        StoreError: When the folder cannot be written.
    """
    spooled = folder / f"{_identity(files, key, rule)}.nii"
    if spooled.is_file():
        return spooled
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise StoreError(f"{scene_id}: no work folder: {error.strerror}; choose another --out") from error
    with Reader() as reader:
        series = series_of(files.values(), key, reader)
        slices, rows, cols = series.shape
        needed = slices * rows * cols * _WIDEST_BYTES
        if needed + _SPARE_BYTES > free:
            raise OversizedSceneError(
                f"{scene_id}: needs {needed / 2**20:.0f} MiB of disk to be unpacked, {free / 2**20:.0f} MiB are free; "
                "make room or choose another --out"
            )
        reader.convert(series, spooled, suv_factor(series) if rule.values == "suv" else 1.0)
    return spooled


def spool_picture(scene_id: str, path: str, key: str, folder: Path) -> Path:
    """Write a single picture into a folder as a GeoTIFF, unless that was done before.

    Args:
        scene_id: For errors.
        path: Its file.
        key: Of the picture.
        folder: Where to; created when missing.

    Raises:
        SceneError: When the picture cannot be read.
        StoreError: When the folder cannot be written.
    """
    spooled = folder / f"{_identity({'file': path}, key, DicomRule())}.tif"
    if spooled.is_file():
        return spooled
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{scene_id}: no work folder: {error.strerror}; choose another --out") from error
    with Reader() as reader:
        reader.picture(reader.header(path), spooled)
    return spooled


def series_sha256(files: Mapping[str, str], key: str) -> str:
    """Hash the content of a volume's files; it depends neither on their names nor on their order.

    Raises:
        UnreadableSceneError: When a file cannot be read to its end.
    """
    digests = sorted(file_sha256(path) for path in files.values())
    return combined_sha256([("series", key), *(("file", digest) for digest in digests)])


def _identity(files: Mapping[str, str], key: str, rule: DicomRule) -> str:
    lines = [f"{key} {rule.values}"]
    for path in sorted(files.values()):
        status = Path(path).stat()
        lines.append(f"{Path(path).resolve()}\n{status.st_size}\n{status.st_mtime_ns}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:24]
