"""What GDAL looks for beside a raster: masks, overviews, world files and metadata of satellites."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# Opened as rasters themselves.
RASTERS_BESIDE = (".msk", ".ovr", ".aux")
_OF_NAME = (*RASTERS_BESIDE, ".aux.xml", ".hdr")
_OF_STEM = (
    ".aux", ".hdr", ".prj", ".sta", ".tab", ".wld", ".ige", ".rrd", ".rde", ".xml", ".txt", ".rpc", ".rpb", ".imd",
    ".pvl", ".pass", ".eph", ".att", "_rpc.txt", "_mtl.txt", "_metadata.txt", "_metadata.xml",
)  # fmt: skip
_OF_FOLDER = ("metadata.dim", "summary.txt")
# In these spellings GDAL asks for names whose two halves differ in case.
_MIXED = ("_MTL.txt", "_RPC.TXT", "_METADATA.txt")


def beside(path: Path) -> Iterator[Path]:
    """Yield what lies beside a raster under the names that GDAL looks for, links among it; no folder is listed."""
    folder = str(path.parent)
    return (path.with_name(name) for name in _names(path) if os.path.lexists(os.path.join(folder, name)))  # noqa: PTH118 - a hundred per raster


def beside_in(path: Path, listed: frozenset[str]) -> Iterator[Path]:
    """Yield the same, of a folder whose names are known."""
    return (path.with_name(name) for name in _names(path) if name in listed)


def _names(path: Path) -> Iterator[str]:
    for suffix in _OF_NAME:
        yield path.name + suffix
        yield path.name + suffix.upper()
    kind = path.suffix.removeprefix(".")
    # World files: .tfw, .tifw, .jgw and their like.
    world = (f".{kind[0]}{kind[-1]}w", f".{kind}w") if kind else ()
    for suffix in (*_OF_STEM, *world):
        for name in (path.stem + suffix, path.stem + suffix.upper()):
            if name != path.name:
                yield name
    yield from (path.stem + suffix for suffix in _MIXED)
    for name in _OF_FOLDER:
        yield name
        yield name.upper()
