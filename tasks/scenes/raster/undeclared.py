"""What a raster names beside itself: sources of a VRT, sidecars, metadata; refused where nobody declared it.

GDAL opens such names with every driver that the process has (``raster_open.DRIVERS``, VRT among them), whatever
drivers the caller allows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tasks.errors import OversizedSceneError, UndeclaredError, UnreadableSceneError, UnsupportedSceneError
from tasks.files.declared import FOLDERS, REMOTE, is_allowed_remote, is_local, lies_below
from tasks.files.fingerprint import FileState, file_state
from tasks.scenes.raster.dataset import GDAL_ERRORS, gdal_env, open_with
from tasks.scenes.raster.sidecars import RASTERS_BESIDE, beside, beside_in

_HEAD_BYTES = 4096
_MAX_VRT_BYTES = 64 << 20
# VRTs in VRTs: more than anybody has reason for, and less than a reader's time.
_DEEPEST = 16
_MOST_READS = 1 << 20
# Files of one folder from which on it is listed, rather than asked for a hundred names of each.
_LISTED_FROM = 20
# Rasters whose files are remembered, as long as none of them changes.
_REMEMBERED = 4096
_ROOT = "VRTDataset"
_VRT = f"<{_ROOT}".encode()
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
# Elements, attributes and keys whose value is a CRS, or the way from one to another. GDAL takes a URL there, and
# fetches it, or the name of a file.
_CRS_NAMES = re.compile(r"(srs|crs|projection|coordinateoperation)$", re.IGNORECASE)
_CRS = re.compile(
    r"[A-Z_0-9]+\s*[\[(]|\+?(proj|type)=|(EPSG|EPSGA|ESRI|IGNF|OGC|CRS|IAU_2015|IAU_2018):[\w+:.-]+$|"
    r"urn:ogc:def:[\w:.,+-]+$|(WGS84|WGS72|NAD27|NAD83|CRS84|CRS83|CRS27)$",
    re.IGNORECASE,
)
# Grids and definitions that PROJ would look for anywhere but among its own.
_CRS_FILE = re.compile(
    r"(grids|init|file|model|catalog)\s*=\s*[^\s\"]*[/\\~]|PARAMETERFILE\s*[\[(]\s*\"[^\"]*\"\s*,\s*\"[^\"]*[/\\~]",
    re.IGNORECASE,
)
# What a VRT may ask of a driver; others lead elsewhere.
_OPTIONS = ("OVERVIEW_LEVEL", "NUM_THREADS", "GEOREF_SOURCES", "SPARSE_OK", "IGNORE_COG_LAYOUT_BREAK")
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
        UndeclaredError: When it, a VRT in it, or a sidecar names what is neither below its own folder nor allowed, or
            is no plain file.
        UnreadableSceneError: When it is no plain file, or a VRT that is no XML, or names a file that is not there.
        OversizedSceneError: When it is VRTs in VRTs without end.
    """
    _looked_through(path)


def files_of(path: str) -> tuple[Path, ...]:
    """Return every local file that a raster is made of, itself first: sources at any depth, and all that lies beside.

    Raises:
        SceneError: As ``refuse_undeclared_names`` does.
    """
    return _looked_through(path).files


def urls_of(path: str) -> tuple[str, ...]:
    """Return what a raster, or a VRT in it, names elsewhere and may.

    Raises:
        SceneError: As ``refuse_undeclared_names`` does.
    """
    return _looked_through(path).urls


def _looked_through(path: str) -> _Looking:
    known = _looks.get(path)
    if known is None or any(file_state(name) != state for name, state in known.states.items()):
        looking = _Looking(path=Path(path))
        looking.visit(Path(path), ())
        while len(_looks) >= _REMEMBERED:
            _looks.pop(next(iter(_looks)), None)
        known = _looks[path] = looking
    return known


def is_vrt(path: Path) -> bool:
    """Tell whether GDAL takes a local file for a VRT, whatever it is called."""
    return _VRT in _head(path)


def names_file(crs: str) -> bool:
    """Tell whether a CRS names a file of this machine, such as a grid of shifts, by its path."""
    return bool(_CRS_FILE.search(crs))


def refuse_undeclared_metadata(dataset: Any, path: str) -> None:  # noqa: ANN401 - rasterio has no types
    """Look through an opened raster's metadata; call it before anything else is asked of it.

    Raises:
        UndeclaredError: When it names overviews or a geolocation array elsewhere, which GDAL would open.
    """
    for domain in _DOMAINS:
        for key, value in dataset.tags(ns=domain).items():
            if key.upper() in _OPENED_KEYS and value != path:
                raise UndeclaredError(
                    f"{path}: its metadata ({domain}: {key}) names {value}. Rewrite it without (gdal_translate -of COG)"
                )


def refuse_undeclared_files(dataset: Any, path: str) -> None:  # noqa: ANN401 - rasterio has no types
    """Compare the files that GDAL says a raster is made of with what it may be made of.

    Raises:
        UndeclaredError: When one lies elsewhere: ERDAS Imagine files name others without any sidecar.
    """
    if dataset.driver == "VRT":
        # Looked through before; there may be thousands.
        return
    for name in dataset.files:
        if name != path and not (is_local(name) and lies_below(Path(name), _folders(Path(path)))):
            raise UndeclaredError(f"{path}: is made of {name}, too, which nobody declared. Rewrite it as GeoTIFF")


def _folders(path: Path) -> tuple[Path, ...]:
    """Return where what belongs to a raster may lie: beside its name, and beside the file that a link leads to."""
    return path.absolute().parent, path.resolve().parent


@dataclass(kw_only=True)
class _Looking:
    """One look through a raster.

    Attributes:
        path: Of the raster.
        states: Of all files that were looked at, and of their folders, from before that.
    """

    path: Path
    states: dict[Path, FileState | None] = field(default_factory=dict)
    _files: dict[Path, None] = field(default_factory=dict)
    _urls: dict[str, None] = field(default_factory=dict)
    _reads: dict[Path, int] = field(default_factory=dict)
    _asked: dict[Path, int] = field(default_factory=dict)
    _listed: dict[Path, frozenset[str]] = field(default_factory=dict)

    @property
    def files(self) -> tuple[Path, ...]:
        """What was found, in order."""
        return tuple(self._files)

    @property
    def urls(self) -> tuple[str, ...]:
        """What VRTs name elsewhere, in order."""
        return tuple(self._urls)

    def visit(self, file: Path, above: tuple[Path, ...]) -> int:
        """Look through a file below the VRTs that lead to it, and return how many reads one of it comes to."""
        real = file.resolve()
        if real in above:
            raise UnreadableSceneError(f"{self.path}: {file.name} is made of itself. Write it again")
        if file in self._reads:
            return self._reads[file]
        self._enter(file)
        self._look_beside(file)
        reads = 1
        if is_vrt(file):
            reads = max(1, sum(self._visit_source(source, (*above, real)) for source in self._sources(file)))
            if reads > _MOST_READS or len(above) >= _DEEPEST:
                raise OversizedSceneError(
                    f"{self.path}: VRTs of VRTs that come to more than {_MOST_READS} reads, or lie more than "
                    f"{_DEEPEST} deep; not believed. Write one VRT of the rasters themselves, or a GeoTIFF"
                )
        elif above:
            _refuse_metadata_of_source(file)
        self._reads[file] = reads
        return reads

    def _sources(self, vrt: Path) -> Iterator[Path | str]:
        """Yield what a VRT names, as often as it does."""
        root = self.path.resolve().parent
        known: dict[tuple[str, bool], tuple[Path | str, ...]] = {}
        for name, tag, is_relative in _named(vrt):
            if (name, is_relative) not in known:
                known[name, is_relative] = tuple(_found(name, tag, vrt, root, is_relative=is_relative))
            yield from known[name, is_relative]

    def _visit_source(self, source: Path | str, above: tuple[Path, ...]) -> int:
        if isinstance(source, Path):
            return self.visit(source, above)
        self._urls.setdefault(source)
        return 1

    def _enter(self, file: Path) -> None:
        if file.exists() and not file.is_file():
            raise UnreadableSceneError(f"{file}: a folder, pipe or device, not a file. Name the raster itself")
        for place in (file.parent, file):
            self.states.setdefault(place, file_state(place))
        self._files.setdefault(file)

    def _look_beside(self, file: Path) -> None:
        for sidecar in self._beside(file):
            if sidecar in self._files:
                continue
            if not lies_below(sidecar, (self.path.resolve().parent, *_folders(file))):
                raise UndeclaredError(
                    f"{sidecar}: beside a raster, a link out of its folder. Put the file itself there, or allow its "
                    f"folder in {FOLDERS}"
                )
            if not sidecar.is_file():
                raise UndeclaredError(f"{sidecar}: beside a raster, a folder, pipe or device, not a file. Remove it")
            self._enter(sidecar)
            if sidecar.suffix.casefold() in RASTERS_BESIDE:
                self._look_at_raster_beside(sidecar)

    def _beside(self, file: Path) -> Iterator[Path]:
        folder = file.parent
        self._asked[folder] = self._asked.get(folder, 0) + 1
        if self._asked[folder] < _LISTED_FROM:
            return beside(file)
        if folder not in self._listed:
            self._listed[folder] = frozenset(path.name for path in folder.iterdir())
        return beside_in(file, self._listed[folder])

    def _look_at_raster_beside(self, sidecar: Path) -> None:
        head = _head(sidecar)
        if not head.startswith((*_TIFF, _HFA)):
            raise UndeclaredError(f"{sidecar}: beside a raster, and neither TIFF nor ERDAS Imagine. Remove it")
        self._look_beside(sidecar)
        _refuse_metadata_of_source(sidecar)


_looks: dict[str, _Looking] = {}


def _refuse_metadata_of_source(path: Path) -> None:
    try:
        with gdal_env(), open_with(str(path), _SOURCE_DRIVERS) as it:
            refuse_undeclared_metadata(it, str(path))
            refuse_undeclared_files(it, str(path))
    except GDAL_ERRORS as error:
        raise UnreadableSceneError(f"{path}: not a raster that can be read ({error}). Copy it again") from error


def _found(name: str, tag: str, vrt: Path, root: Path, *, is_relative: bool) -> Iterator[Path | str]:
    """Yield the files that a name in a VRT may stand for, or the URL that it is."""
    if name != name.strip() or name.startswith("<") or (is_local(name) and _CONNECTION.match(name)):
        raise UndeclaredError(f"{vrt}: {tag} is a connection, not a file: {name[:80]}. Name the file itself")
    if not is_local(name):
        if not is_allowed_remote(name):
            raise UndeclaredError(f"{vrt}: {tag} names {name}, which nobody declared. Allow it in {REMOTE}")
        yield name
        return
    beside_it = vrt.resolve().parent / name
    # Without the mark that makes it relative, GDAL looks in the working directory.
    places = (beside_it,) if is_relative else dict.fromkeys((beside_it, Path(name).absolute()))
    found = [place for place in places if os.path.lexists(place)]
    for place in found or places:
        _require_below(place, root, vrt, f"{tag} names {name}")
    if not found:
        raise UnreadableSceneError(f"{vrt}: {tag} names {name}, which is not there. Check where it has gone")
    for place in found:
        if not place.is_file():
            raise UndeclaredError(f"{vrt}: {tag} names {name}, a folder, pipe or device and not a file. Remove it")
        yield _of_known_format(place, vrt)


def _require_below(place: Path, root: Path, vrt: Path, told: str) -> None:
    # Readers differ in whether '..' behind a link leads back to where the link is.
    if not all(lies_below(path, [root]) for path in (place, Path(os.path.normpath(place)))):
        raise UndeclaredError(
            f"{vrt}: {told}, which is not below the folder of the VRT. Move it there, or allow its folder in {FOLDERS}"
        )


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
        tag: Any = node.tag
        if not isinstance(tag, str):
            # A comment.
            continue
        tag = _local_name(tag)
        attributes = {_local_name(name).casefold(): value for name, value in node.attrib.items()}
        _refuse_kind(vrt, tag, node, attributes)
        key = attributes.get("key") or attributes.get("name") or ""
        _refuse_crs(vrt, [(tag, node.text or ""), (key, node.text or ""), *attributes.items()])
        is_key = key.upper() in _OPENED_KEYS if tag.casefold() == "mdi" else _NAMES.search(key)
        if is_key or (_NAMES.search(tag) and tag != _ROOT):
            if len(node):
                raise UndeclaredError(f"{vrt}: {key or tag} holds more than a name. Write the VRT again")
            if node.text and node.text.strip():
                yield node.text, key or tag, attributes.get("relativetovrt") == "1"
        for name, value in attributes.items():
            if _NAMES.search(name) and value:
                raise UndeclaredError(f"{vrt}: names {value[:80]} in an attribute ({name}). Write the VRT again")


def _refuse_kind(vrt: Path, tag: str, node: ElementTree.Element, attributes: dict[str, str]) -> None:
    """Refuse what runs programs, reads files as raw bytes, or opens them in ways of its own."""
    if tag.casefold() in ("pixelfunctionlanguage", "pixelfunctioncode"):
        raise UndeclaredError(f"{vrt}: holds a program ({tag}), which is not run. Write its result to a file")
    subclass = attributes.get("subclass") or (node.text if tag.casefold() == "subclass" else None)
    if subclass is not None and subclass.strip() not in _SUBCLASSES:
        raise UndeclaredError(f"{vrt}: of the kind {subclass}, which is not read. Write its result to a file")
    option = attributes.get("key", "")
    if tag.casefold() == "ooi" and option.upper() not in _OPTIONS:
        raise UndeclaredError(f"{vrt}: opens a source with the option {option}, which is not known here. Remove it")


def _refuse_crs(vrt: Path, told: list[tuple[str, str]]) -> None:
    for name, text in told:
        if not _CRS_NAMES.search(name) or not text.strip():
            continue
        if not _CRS.match(text.strip()) or names_file(text):
            raise UndeclaredError(
                f"{vrt}: {name} is a CRS that is to be fetched or read from a file: {text.strip()[:80]}. Write it as "
                "WKT, or as EPSG:..."
            )


def _parsed(vrt: Path) -> ElementTree.Element:
    if vrt.stat().st_size > _MAX_VRT_BYTES:
        raise OversizedSceneError(f"{vrt}: a VRT of more than {_MAX_VRT_BYTES >> 20} MiB. Make several of it")
    content = vrt.read_bytes()
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise UndeclaredError(f"{vrt}: a VRT with a document type, which can name further files. Remove it")
    if b"<![CDATA[" in content:
        # Two readers put such pieces together in two ways.
        raise UndeclaredError(f"{vrt}: a VRT with CDATA in it. Write it again (gdal_translate -of VRT)")
    try:
        # As GDAL reads it, whatever encoding the file claims; comments part a name in two.
        keeping = ElementTree.TreeBuilder(insert_comments=True, insert_pis=True)
        return ElementTree.fromstring(content, parser=ElementTree.XMLParser(target=keeping, encoding="utf-8"))
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
