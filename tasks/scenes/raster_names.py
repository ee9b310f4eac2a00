"""What a raster names beside itself: sources of a VRT, sidecars, metadata; refused where nobody declared it.

GDAL opens such names with every driver it has, VRT, WMS and /vsicurl among them, whatever drivers the caller allows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import rasterio

from tasks.declared import FOLDERS, REMOTE, is_allowed_remote, is_local, lies_below
from tasks.errors import OversizedSceneError, UndeclaredError, UnreadableSceneError, UnsupportedSceneError
from tasks.scenes.raster_open import GDAL_ERRORS, open_with

_HEAD_BYTES = 4096
_MAX_VRT_BYTES = 64 << 20
_VRT = b"<VRTDataset"
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_HFA = b"EHFA_HEADER_TAG"
# What a VRT may be made of: formats that say by their first bytes what they are.
_SOURCES = (*_TIFF, _HFA, b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51", b"\x89PNG", b"\xff\xd8\xff", b"CDF")
_SOURCE_DRIVERS = ("GTiff", "HFA", "JP2OpenJPEG", "PNG", "JPEG", "netCDF")
# Elements, attributes and keys of a VRT whose value is opened: SourceFilename, SourceDataset, DEMPath, X_DATASET, ...
_NAMES = re.compile(r"file(name)?$|dataset$|path$|dsn$", re.IGNORECASE)
_SUBCLASSES = (None, "VRTWarpedDataset", "VRTPansharpenedDataset", "VRTRasterBand", "VRTSourcedRasterBand",
    "VRTWarpedRasterBand", "VRTPansharpenedRasterBand", "VRTDerivedRasterBand")  # fmt: skip
_CONNECTION = re.compile(r"\w[\w ]*:")
# Domains of metadata, and the keys in them whose values GDAL opens.
_DOMAINS = ("OVERVIEWS", "GEOLOCATION")
_OPENED_KEYS = ("OVERVIEW_FILE", "X_DATASET", "Y_DATASET")


def drivers_of(path: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """Return which of the allowed drivers may be asked for a raster.

    VRT and netCDF only where a local file says that it is one, and netCDF in its classic form alone: an HDF5 file may
    store its pixels in any other file of the machine.

    Raises:
        UnsupportedSceneError: When it is an HDF5 file.
    """
    head = _head(Path(path)) if is_local(path) else b""
    if head.startswith(b"\x89HDF"):
        raise UnsupportedSceneError(
            f"{path}: HDF5 or netCDF-4, which may keep its pixels in other files of this machine. Convert it with "
            "gdal_translate -of COG"
        )
    wanted = {"VRT": _VRT in head, "netCDF": head.startswith(b"CDF")}
    return tuple(name for name in allowed if wanted.get(name, True))


def refuse_undeclared_names(path: str) -> None:
    """Look through a local raster for what it names, before GDAL does.

    Raises:
        UndeclaredError: When a VRT, or a sidecar, names what is neither below its own folder nor allowed.
        UnreadableSceneError: When it is a VRT that is no XML.
    """
    status = Path(path).stat()
    _look_through(path, status.st_size, status.st_mtime_ns)


def refuse_undeclared_metadata(dataset: Any, path: str) -> None:  # noqa: ANN401 - rasterio has no types
    """Look through an opened raster's metadata; call it before anything else is asked of it.

    Raises:
        UndeclaredError: When it names overviews or a geolocation array elsewhere, which GDAL would open.
    """
    for domain in _DOMAINS:
        for key, value in dataset.tags(ns=domain).items():
            if key in _OPENED_KEYS and value != path:
                raise UndeclaredError(
                    f"{path}: its metadata ({domain}: {key}) names {value}. Rewrite it without (gdal_translate -of COG)"
                )


@lru_cache(maxsize=4096)
def _look_through(path: str, n_bytes: int, mtime_ns: int) -> None:
    """Look once at a file, and again when it has changed."""
    seen: set[Path] = set()
    waiting = [Path(path)]
    root = Path(path).resolve().parent
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        _refuse_sidecars(file)
        head = _head(file)
        if _VRT in head:
            waiting.extend(_sources(file, root))
        elif len(seen) > 1:
            _refuse_metadata_of_source(file)


def _refuse_sidecars(path: Path) -> None:
    suffixes = (".msk", ".ovr", ".aux", ".MSK", ".OVR", ".AUX")
    beside = [path.with_name(f"{path.name}{suffix}") for suffix in suffixes]
    for sidecar in filter(Path.is_file, (*beside, path.with_suffix(".aux"), path.with_suffix(".AUX"))):
        head = _head(sidecar)
        if not head.startswith((*_TIFF, _HFA)):
            raise UndeclaredError(f"{sidecar}: beside a raster, and neither TIFF nor ERDAS Imagine. Remove it")
        if head.startswith(_TIFF):
            _refuse_metadata_of_source(sidecar)
        if sidecar != path:
            _refuse_sidecars(sidecar)


def _refuse_metadata_of_source(path: Path) -> None:
    try:
        with rasterio.Env(), open_with(str(path), _SOURCE_DRIVERS) as it:
            refuse_undeclared_metadata(it, str(path))
    except GDAL_ERRORS as error:
        raise UnreadableSceneError(f"{path}: not a raster that can be read ({error}). Copy it again") from error


def _sources(vrt: Path, root: Path) -> Iterator[Path]:
    for name, tag, is_relative in _named(vrt):
        if name != name.strip() or name.startswith("<") or (is_local(name) and _CONNECTION.match(name)):
            raise UndeclaredError(f"{vrt}: {tag} is a connection, not a file: {name[:80]}. Name the file itself")
        if not is_local(name):
            if not is_allowed_remote(name):
                raise UndeclaredError(f"{vrt}: {tag} names {name}, which nobody declared. Allow it in {REMOTE}")
            continue
        beside = vrt.resolve().parent / name
        for found in (beside,) if is_relative else (beside, Path(name).absolute()):
            if found.exists() and not lies_below(found, [root]):
                raise UndeclaredError(
                    f"{vrt}: {tag} names {name}, which is not below the folder of the VRT. Move it there, or allow its "
                    f"folder in {FOLDERS}"
                )
        if beside.is_file():
            yield _of_known_format(beside.resolve(), vrt)


def _of_known_format(file: Path, vrt: Path) -> Path:
    head = _head(file)
    if _VRT not in head and not head.startswith(_SOURCES):
        raise UndeclaredError(
            f"{vrt}: names {file.name}, which is no format that a VRT may be made of (TIFF, JPEG 2000, PNG, "
            "JPEG, ERDAS Imagine, classic netCDF, VRT). Convert it to GeoTIFF"
        )
    return file


def _named(vrt: Path) -> Iterator[tuple[str, str, bool]]:
    """Yield what a VRT names, the element or key that does, and whether the name is relative to the VRT for sure."""
    for node in _parsed(vrt).iter():
        tag = _local_name(node.tag)
        attributes = {_local_name(name).casefold(): value for name, value in node.attrib.items()}
        if tag.casefold() in ("pixelfunctionlanguage", "pixelfunctioncode"):
            raise UndeclaredError(f"{vrt}: holds a program ({tag}), which is not run. Write its result to a file")
        subclass = attributes.get("subclass") or (node.text if tag.casefold() == "subclass" else None)
        if subclass is not None and subclass.strip() not in _SUBCLASSES:
            raise UndeclaredError(f"{vrt}: of the kind {subclass}, which is not read. Write its result to a file")
        key = attributes.get("key") or attributes.get("name") or ""
        opened = key in _OPENED_KEYS if tag.casefold() == "mdi" else _NAMES.search(tag) or _NAMES.search(key)
        if opened and node.text and node.text.strip():
            yield node.text, key or tag, attributes.get("relativetovrt") == "1"
        yield from ((value, name, False) for name, value in attributes.items() if _NAMES.search(name) and value)


def _parsed(vrt: Path) -> ElementTree.Element:
    if vrt.stat().st_size > _MAX_VRT_BYTES:
        raise OversizedSceneError(f"{vrt}: a VRT of more than {_MAX_VRT_BYTES >> 20} MiB. Make several of it")
    content = vrt.read_bytes()
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise UndeclaredError(f"{vrt}: a VRT with a document type, which can name further files. Remove it")
    try:
        # As GDAL reads it, whatever encoding the file claims.
        return ElementTree.fromstring(content, parser=ElementTree.XMLParser(encoding="utf-8"))
    except ElementTree.ParseError as error:
        raise UnreadableSceneError(f"{vrt}: not a VRT that can be read: {error}. Write it again") from error


def _local_name(name: str) -> str:
    return name.rsplit("}", 1)[-1]


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError as error:
        raise UnreadableSceneError(f"{path}: cannot be opened: {error.strerror}. Check its permissions") from error
