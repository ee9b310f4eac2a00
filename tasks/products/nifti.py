"""Masks as NIfTI files on exactly the grid of their input."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.errors import SwatheError
from tasks.errors import ProductError
from tasks.geometry.box import Box
from tasks.scenes.volume.header import VolumeHeader, not_observed_text, volume_header
from tasks.scenes.volume.scene import VolumeScene

Labels: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.uint32]
ReadLabels: TypeAlias = Callable[[Box], Labels]

_DATATYPES = {"uint8": 2, "uint16": 512, "uint32": 768}
# What places a file in the patient; copied bit for bit and compared after writing.
GEOMETRY_FIELDS = (
    "dim", "pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d",
    "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z", "dim_info",
)  # fmt: skip
# Free text, in which names of patients are found.
_TEXT_FIELDS = ("descrip", "aux_file", "db_name", "data_type", "intent_name", "unused_str")
# What they say is true of the input's intensities, not of labels.
_INTENSITY_FIELDS = (
    "cal_max", "cal_min", "glmax", "glmin", "scl_inter", "intent_code", "intent_p1", "intent_p2", "intent_p3",
)  # fmt: skip
_NO_EXTENSION = b"\0\0\0\0"
_COMPRESSION_LEVEL = 4
_SLAB_VOXELS = 1 << 23
_CHUNK_BYTES = 1 << 20


def write_nifti(labels: Labels | ReadLabels, dtype: str, scene: VolumeScene, destination: Path) -> None:
    """Write labels, percentages or ids of a volume as ``.nii.gz`` in the file's own axis order.

    The same labels give the same bytes. The header is the input's but for datatype, scaling, intent and free
    text; extensions are left out, since they may carry what identifies a patient. The description says which value
    stands for not observed, the largest of the type.

    Args:
        labels: The native turned grid ``scene.frame.native_shape``, or what reads a window of it.
        dtype: ``uint8`` or ``uint16``; ``uint32`` for ids.
        scene: The volume that was segmented.
        destination: Is replaced in one step when the file is complete, verified and on disk.

    Raises:
        ProductError: When what was written does not read back as meant.
    """
    read = labels if callable(labels) else _reader_of(labels, scene)
    part = destination.with_name(f"{destination.name}.part")
    header = _label_header(scene.header, dtype)
    checksum = zlib.crc32(header)
    with part.open("wb") as sink:
        with gzip.GzipFile("", "wb", _COMPRESSION_LEVEL, sink, mtime=0) as zipped:
            zipped.write(header)
            for slab in _slabs(read, dtype, scene):
                checksum = zlib.crc32(slab, checksum)
                zipped.write(slab)
        sink.flush()
        os.fsync(sink.fileno())
    _verify(part, dtype, scene, checksum)
    part.replace(destination)


def _reader_of(labels: Labels, scene: VolumeScene) -> ReadLabels:
    if labels.shape != scene.frame.native_shape:
        raise ProductError(
            f"{scene.id}: labels of shape {labels.shape} do not lie on the input's grid {scene.frame.native_shape}"
        )

    def read(box: Box) -> Labels:
        return labels[box.slices]

    return read


def _label_header(source: VolumeHeader, dtype: str) -> bytes:
    fields = source.fields
    for name in (*_TEXT_FIELDS, *_INTENSITY_FIELDS):
        if name in (fields.dtype.names or ()):
            fields[name] = b"" if fields.dtype[name].kind == "S" else 0
    fields["descrip"] = not_observed_text(int(np.iinfo(dtype).max))
    fields["scl_slope"] = 1
    fields["datatype"] = _DATATYPES[dtype]
    fields["bitpix"] = 8 * np.dtype(dtype).itemsize
    fields["vox_offset"] = len(source.raw) + len(_NO_EXTENSION)
    return fields.tobytes() + _NO_EXTENSION


def _slabs(read: ReadLabels, dtype: str, scene: VolumeScene) -> Iterator[bytes]:
    """Yield the voxels in file order, a few of the file's slices at a time."""
    turn = scene.turn
    stored = np.dtype(dtype).newbyteorder("<" if scene.header.byte_order == "<" else ">")
    x, y, z = turn.file_shape
    step = max(1, _SLAB_VOXELS // (x * y))
    for start in range(0, z, step):
        box = turn.from_file(Box((0, 0, start), (x, y, min(start + step, z))))
        slab = turn.turn_back(read(box))
        yield slab.astype(stored, copy=False).tobytes(order="F")


def _verify(path: Path, dtype: str, scene: VolumeScene, checksum: int) -> None:
    try:
        written = volume_header(path)
        content = _checksum(path)
    except (SwatheError, OSError, EOFError, zlib.error) as error:
        raise ProductError(f"{scene.id}: the mask does not read back: {error}; check the disk") from error
    differing = [name for name in GEOMETRY_FIELDS if not _same_bytes(written, scene.header, name)]
    if differing:
        raise ProductError(f"{scene.id}: the mask's header differs from the input's in {', '.join(differing)}")
    if np.dtype(written.dtype).name != dtype or (written.slope, written.intercept) != (1.0, 0.0):
        raise ProductError(f"{scene.id}: the mask reads back as {written.dtype}, not as unscaled {dtype}")
    if content != checksum:
        raise ProductError(f"{scene.id}: the mask's voxels read back differently; check the disk")


def _same_bytes(one: VolumeHeader, other: VolumeHeader, name: str) -> bool:
    if one.byte_order != other.byte_order:
        return False
    return bool(one.fields[name].tobytes() == other.fields[name].tobytes())


def _checksum(path: Path) -> int:
    checksum = 0
    with gzip.open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            checksum = zlib.crc32(chunk, checksum)
    return checksum
