"""What a file is by its first bytes: names for formats that none of ours is."""

from __future__ import annotations

# By magic: the name, and whether GDAL may be asked for it as a raster.
FORMATS: tuple[tuple[bytes, str, bool], ...] = (
    (b"NRRD", "an NRRD file", False),
    (b"ObjectType", "a MetaImage file", False),
    (b"NDims", "a MetaImage file", False),
    (b"# vtk", "a VTK file", False),
    (b"\x93NUMPY", "a NumPy array", False),
    (b"%PDF", "a PDF", False),
    (b"PK\x03\x04", "a zip archive", False),
    (b"BZh", "a bzip2 archive", False),
    (b"\xfd7zXZ", "an xz archive", False),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", False),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", False),
    (b"GIF8", "a GIF picture", False),
    (b"\x89PNG", "a PNG picture", True),
    (b"\xff\xd8\xff", "a JPEG picture", True),
    (b"II*\x00", "a TIFF file", True),
    (b"MM\x00*", "a TIFF file", True),
    (b"II+\x00", "a BigTIFF file", True),
    (b"MM\x00+", "a BigTIFF file", True),
    (b"\x89HDF", "an HDF5, MINC or netCDF-4 file", True),
    (b"CDF", "a netCDF or MINC file", True),
    (b"<VRTDataset", "a GDAL VRT", True),
)
_ARCHIVE = "archive"


def remedy(format_name: str) -> str:
    """Return what to do with a file of a format that is no NIfTI."""
    return "unpack it" if format_name.endswith(_ARCHIVE) else "convert it to .nii.gz"
