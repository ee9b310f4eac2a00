"""Which vector files are opened: formats that say what they are and that name no other file.

OGR picks a driver by content and name, and some of its drivers fetch URLs, open other files or run programs.
"""

from __future__ import annotations

import json
import mmap
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import PolygonError, UndeclaredError
from tasks.files.declared import FOLDERS, is_local, lies_below

_KNOWN = "GeoPackage (.gpkg), GeoJSON (.geojson), Shapefile (.shp), FlatGeobuf (.fgb) or GeoParquet (.parquet)"
_MAGIC = {".gpkg": b"SQLite format 3\x00", ".shp": b"\x00\x00\x27\x0a", ".fgb": b"fgb\x03", ".parquet": b"PAR1",
    ".geoparquet": b"PAR1"}  # fmt: skip
GEOJSON = (".geojson", ".json")
# What is read beside a file without being named: behind its stem, or behind its name.
_BEHIND_STEM = {".shp": (".shx", ".dbf", ".prj", ".cpg", ".cst", ".sbn", ".sbx", ".qix")}
_BEHIND_NAME = {".gpkg": ("-wal", "-shm", "-journal", ".aux.xml")}
# GeoJSON of 2008 may say where its CRS is to be fetched from. GDAL's parser also takes \u escapes, comments and single
# quotes, and does not mind the case of keys.
_GAP = rb"(?:\s|/\*.*?\*/|//[^\n]*\n)*"
_LETTERS = rb"(?:c|\\u0063|\\u0043)(?:r|\\u0072|\\u0052)(?:s|\\u0073|\\u0053)"
_CRS_KEY = re.compile(rb"[\"']" + _LETTERS + rb"[\"']" + _GAP + b":" + _GAP + rb"(?=\{)", re.IGNORECASE | re.DOTALL)
_LONGEST_CRS = 4096
_MAX_PARQUET_BYTES = 8 << 30
_MAX_PARQUET_ROWS = 50_000_000


def require_vector_file(path: Path) -> None:
    """Refuse what is no vector file of a known format, or what would lead elsewhere.

    Raises:
        PolygonError: When the file is not there, of no known format, or declares more than is believed.
        UndeclaredError: When it lies behind a URL, or names one.
    """
    # Of a URL a Path keeps one of the two slashes.
    if not is_local(str(path)) or re.match(r"\w+:/", str(path)):
        raise UndeclaredError(f"{path}: vector files are read from disk. Copy it there")
    for member in (path, *_beside(path)):
        if member.exists() and not member.is_file():
            raise PolygonError(f"{member}: a folder, pipe or device, not a file. Name a vector file")
    try:
        with path.open("rb") as file:
            head = file.read(4096)
            suffix = path.suffix.lower()
            if suffix in GEOJSON and head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{":
                _refuse_links(path, file.fileno())
            elif suffix not in _MAGIC or not head.startswith(_MAGIC[suffix]):
                raise PolygonError(f"{path}: cannot be read: no {_KNOWN} by its name and content. Convert it to one")
    except OSError as error:
        raise PolygonError(f"{path}: cannot be read: {error.strerror}. Check the path") from error
    if suffix in {".parquet", ".geoparquet"}:
        _refuse_absurd(path)


def _beside(path: Path) -> Iterator[Path]:
    """Yield the other files of a Shapefile, and what SQLite keeps beside its own.

    Raises:
        UndeclaredError: When one is a link out of the folder.
    """
    folders, suffix = (path.absolute().parent, path.resolve().parent), path.suffix.lower()
    endings = [spelt for ending in _BEHIND_STEM.get(suffix, ()) for spelt in (ending, ending.upper())]
    names = [path.stem + ending for ending in endings]
    names += [path.name + ending for ending in _BEHIND_NAME.get(suffix, ())]
    for member in filter(os.path.lexists, map(path.with_name, names)):
        if not lies_below(member, folders):
            raise UndeclaredError(
                f"{member}: beside a vector file, a link out of its folder. Put the file itself there, or allow its "
                f"folder in {FOLDERS}"
            )
        yield member


def _refuse_links(path: Path, descriptor: int) -> None:
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content:
        if content.find(b"gdal_streamed_alg") >= 0:
            raise UndeclaredError(f"{path}: a program of GDAL, not GeoJSON. Write its result to a file")
        for crs in _stated_crs(content):
            if not isinstance(crs, dict) or str(crs.get("type", "")).casefold() not in ("name", "epsg"):
                raise UndeclaredError(
                    f"{path}: says that its CRS is to be fetched. Name it: urn:ogc:def:crs:EPSG::32632"
                )


def _stated_crs(content: mmap.mmap) -> Iterator[Any]:
    """Yield every CRS that GeoJSON states; None for one that cannot be read."""
    for match in _CRS_KEY.finditer(content):
        text = content[match.end() : match.end() + _LONGEST_CRS].decode("utf-8", errors="replace")
        try:
            yield json.JSONDecoder(object_pairs_hook=_lower_case).raw_decode(text)[0]
        except (ValueError, RecursionError):
            yield None


def _lower_case(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [name.casefold() for name, _ in pairs]
    # Of two keys each reader takes its own.
    return {} if len(set(keys)) < len(keys) else dict(zip(keys, (value for _, value in pairs), strict=True))


def _refuse_absurd(path: Path) -> None:
    try:
        facts = pq.read_metadata(path)
    except (OSError, pa.ArrowException) as error:
        raise PolygonError(f"{path}: not GeoParquet: {error}. Give a file with WKB geometries") from error
    n_bytes = sum(facts.row_group(k).total_byte_size for k in range(facts.num_row_groups))
    if facts.num_rows > _MAX_PARQUET_ROWS or n_bytes > _MAX_PARQUET_BYTES:
        raise PolygonError(
            f"{path}: declares {facts.num_rows} features and {n_bytes} bytes; more than {_MAX_PARQUET_ROWS} "
            f"features or {_MAX_PARQUET_BYTES >> 30} GiB are not believed. Split it"
        )
