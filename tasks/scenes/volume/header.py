"""What a NIfTI file says about itself, checked before anything is read from it."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.plain import is_hollow
from tasks.errors import EmptySceneError, OversizedSceneError, UnreadableSceneError, UnsupportedSceneError
from tasks.jobs.source import VoxelSize
from tasks.scenes.formats import FORMATS, remedy
from tasks.scenes.gzipped import MAGIC, GzipStream
from tasks.scenes.volume.place import nearest_axes, place_of

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

_SNIFFED_BYTES = 544
_EXTENSION_FLAG_BYTES = 4
_NIFTI2_BYTES = 540
# NIfTI has no field for nodata; products say it in words.
_NOT_OBSERVED = re.compile(rb"swathe: (\d+) is not observed")
# DEFLATE cannot do better (zlib.net/zlib_tech.html).
_BEST_COMPRESSION = 1032
_REAL_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_OTHER_TYPES = {1: "binary", 32: "complex", 128: "RGB", 1536: "float128", 1792: "complex", 2304: "RGBA"}
_CIFTI_INTENTS = range(3000, 3100)


@dataclass(frozen=True, kw_only=True)
class VolumeHeader:
    """A checked NIfTI header and what follows from it.

    Attributes:
        path: The file.
        raw: The 348 or 540 header bytes as they stand in the file.
        byte_order: ``<`` or ``>``.
        file_shape: Voxels in file order, first axis fastest.
        dtype: NumPy name of the stored type, byte order included.
        offset: Bytes before the first voxel, after decompression.
        slope: Physical values are ``slope * stored + intercept``.
        intercept: See ``slope``.
        affine: Rows of the 4 x 4 from file voxels to world, right-anterior-superior, in millimetres.
        is_compressed: Whether the file is a gzip file.
        notes: What a user should know of how its geometry was read.
    """

    path: Path
    raw: bytes
    byte_order: str
    file_shape: tuple[int, int, int]
    dtype: str
    offset: int
    slope: float
    intercept: float
    affine: tuple[tuple[float, ...], ...]
    is_compressed: bool
    notes: tuple[str, ...] = ()

    @property
    def is_nifti2(self) -> bool:
        """Whether the header is one of NIfTI-2."""
        return len(self.raw) == _NIFTI2_BYTES

    @property
    def fields(self) -> NDArray[Any]:
        """The header's fields as a writable structured array of its own."""
        return _parse(self.raw, self.byte_order)._structarr.copy()  # type: ignore[no-any-return]

    @property
    def not_observed(self) -> int | None:
        """The value that stands for not observed, where swathe wrote the file and says so; None in any other."""
        found = _NOT_OBSERVED.fullmatch(bytes(self.fields["descrip"]).rstrip(b"\0"))
        return int(found[1]) if found else None

    @property
    def n_bytes(self) -> int:
        """Length of the uncompressed file as far as voxels go."""
        return self.offset + int(np.prod(self.file_shape, dtype=object)) * np.dtype(self.dtype).itemsize

    @property
    def affine_mm(self) -> NDArray[np.float64]:
        """``affine`` as an array."""
        return np.array(self.affine, dtype=np.float64)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along each file axis: the column norms of the affine."""
        x, y, z = (float(norm) for norm in np.linalg.norm(self.affine_mm[:3, :3], axis=0))
        return x, y, z

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of a voxel, oblique ones included: the affine's determinant."""
        return abs(float(np.linalg.det(self.affine_mm[:3, :3]))) / 1000.0

    @property
    def nearest_axes(self) -> tuple[tuple[int, int], ...]:
        """For each file axis the nearest world axis, and 1 or -1 for its direction."""
        return nearest_axes(self.affine_mm)


def not_observed_text(value: int) -> bytes:
    """Return what a product's header says of the value that stands for not observed, as ``not_observed`` reads it."""
    return b"swathe: %d is not observed" % value


def volume_header(path: Path, voxel_size: VoxelSize | None = None) -> VolumeHeader:
    """Read and check the header of a NIfTI-1 or NIfTI-2 file; not more than its first bytes are read.

    Args:
        path: The file.
        voxel_size: Which to believe where sform and pixdim differ; None refuses.

    Raises:
        GeometryError: When sform and pixdim differ, and nothing says which is right.
        UnreadableSceneError: When the file is missing, damaged, truncated, a Git-LFS pointer or no NIfTI.
        UnsupportedSceneError: When it is of another known format, not 3-D, or not of real numbers.
        EmptySceneError: When it declares no voxel.
        OversizedSceneError: When it declares more voxels than a file of its size can hold.
    """
    start, is_compressed = _first_bytes(path)
    raw, byte_order = _header_bytes(path, start)
    parsed = _parse(raw, byte_order)
    fields = parsed._structarr
    dtype = byte_order + _stored_type(path, fields)
    shape = _shape(path, fields)
    slope, intercept = _scaling(path, parsed)
    place = place_of(path.name, fields, shape, voxel_size)
    header = VolumeHeader(
        path=path,
        raw=raw,
        byte_order=byte_order,
        file_shape=shape,
        dtype=np.dtype(dtype).str,
        offset=_offset(path, fields, len(raw)),
        slope=slope,
        intercept=intercept,
        affine=place.affine,
        is_compressed=is_compressed,
        notes=place.notes,
    )
    _require_voxels(header)
    return header


def _first_bytes(path: Path) -> tuple[bytes, bool]:
    try:
        with path.open("rb") as file:
            start = file.read(_SNIFFED_BYTES)
        if not start:
            raise UnreadableSceneError(f"{path.name}: the file is empty; copy it again")
        if not start.startswith(MAGIC):
            return start, False
        with path.open("rb") as file:
            return GzipStream(file).read(_SNIFFED_BYTES), True
    except (EOFError, zlib.error) as error:
        raise UnreadableSceneError(f"{path.name}: damaged gzip data ({error}); copy the file again") from error
    except OSError as error:
        raise UnreadableSceneError(f"{path.name}: cannot be opened: {error.strerror}") from error


def _header_bytes(path: Path, start: bytes) -> tuple[bytes, str]:
    if start.startswith(b"version https://git-lfs"):
        raise UnreadableSceneError(
            f"{path.name}: a Git-LFS pointer, not the volume; run 'git lfs pull' where it came from"
        )
    _refuse_foreign(path, start)
    for size, magic, at in ((348, b"n+1\0", 344), (540, b"n+2\0", 4)):
        for byte_order in "<>":
            if start[:4] == np.array(size, f"{byte_order}i4").tobytes():
                if len(start) < size:
                    raise UnreadableSceneError(f"{path.name}: truncated inside its header; copy the file again")
                if start[at : at + 4] != magic:
                    raise UnsupportedSceneError(
                        f"{path.name}: an Analyze header, or a NIfTI pair (.hdr and .img); convert it to a "
                        "single .nii or .nii.gz"
                    )
                return start[:size], byte_order
    raise UnreadableSceneError(f"{path.name}: not a NIfTI file (it starts with {start[:8]!r}); give a .nii or .nii.gz")


def _refuse_foreign(path: Path, start: bytes) -> None:
    known = next((name for magic, name, _ in FORMATS if start.startswith(magic)), None)
    if start[128:132] == b"DICM":
        known = "a DICOM file"
    if start[:4] == b"\0\0\0\1" and path.name.lower().endswith((".mgz", ".mgh", ".mgh.gz")):
        known = "an MGH file of FreeSurfer"
    if path.suffix.lower() == ".img" and path.with_suffix(".hdr").is_file():
        known = "the voxels of an Analyze or NIfTI pair (.hdr and .img)"
    if known:
        raise UnsupportedSceneError(f"{path.name}: {known}, not NIfTI; {remedy(known)}")


def _parse(raw: bytes, byte_order: str) -> Nifti1Header:
    # nibabel takes long to import, and most batches are of rasters.
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    kind = Nifti2Header if len(raw) == _NIFTI2_BYTES else Nifti1Header
    return kind(raw, endianness=byte_order, check=False)  # type: ignore[no-untyped-call]


def _stored_type(path: Path, fields: NDArray[Any]) -> str:
    if int(fields["intent_code"]) in _CIFTI_INTENTS:
        raise UnsupportedSceneError(f"{path.name}: CIFTI (surface and connectivity data), not a volume of voxels")
    code = int(fields["datatype"])
    if code in _OTHER_TYPES:
        raise UnsupportedSceneError(
            f"{path.name}: voxels are of type {_OTHER_TYPES[code]}; swathe segments volumes of real numbers, "
            "convert it to integers or floats"
        )
    if code not in _REAL_TYPES:
        raise UnreadableSceneError(f"{path.name}: unknown NIfTI datatype {code}; the header is damaged")
    return _REAL_TYPES[code]


def _shape(path: Path, fields: NDArray[Any]) -> tuple[int, int, int]:
    n_dims = int(fields["dim"][0])
    if not 1 <= n_dims <= 7:
        raise UnreadableSceneError(f"{path.name}: the header declares {n_dims} dimensions; it is damaged")
    dims = tuple(int(length) for length in fields["dim"][1 : n_dims + 1])
    if min(dims) < 0:
        raise UnreadableSceneError(f"{path.name}: the header declares lengths {dims}; it is damaged")
    if 0 in dims:
        raise EmptySceneError(f"{path.name}: the header declares lengths {dims}: there is no voxel")
    if any(length > 1 for length in dims[3:]):
        raise UnsupportedSceneError(
            f"{path.name}: {n_dims}-dimensional {dims}; swathe segments one volume at a time, split it first"
        )
    x, y, z = (*dims, 1, 1)[:3]
    return x, y, z


def _scaling(path: Path, parsed: Nifti1Header) -> tuple[float, float]:
    from nibabel.spatialimages import HeaderDataError

    try:
        slope, intercept = parsed.get_slope_inter()  # type: ignore[no-untyped-call]
    except HeaderDataError as error:
        raise UnreadableSceneError(f"{path.name}: {error}; mend scl_inter in the header") from error
    return (1.0, 0.0) if slope is None else (float(slope), float(intercept))


def _offset(path: Path, fields: NDArray[Any], header_bytes: int) -> int:
    declared = float(fields["vox_offset"])
    if not np.isfinite(declared) or declared < 0:
        raise UnreadableSceneError(f"{path.name}: voxel offset {declared}; the header is damaged")
    return max(int(declared), header_bytes + _EXTENSION_FLAG_BYTES)


def _require_voxels(header: VolumeHeader) -> None:
    status = header.path.stat()
    held = status.st_size
    name, shape, needed = header.path.name, header.file_shape, header.n_bytes
    if is_hollow(header.path, status):
        raise OversizedSceneError(f"{name}: a sparse file, with next to nothing in its {held} bytes; copy it again")
    if needed > held * _BEST_COMPRESSION:
        raise OversizedSceneError(
            f"{name}: declares {shape} voxels, {needed} bytes, and its {held} bytes cannot hold them; "
            "the header or the copy is damaged"
        )
    if not header.is_compressed and needed > held:
        raise UnreadableSceneError(f"{name}: truncated: {needed} bytes expected, {held} there; copy it again")
