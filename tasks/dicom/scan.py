"""From what a user named to the volumes in it: files, folders, trees and DICOMDIRs, in any order and mixed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.dicom.files import DICOMDIR, dicom_below
from tasks.dicom.instance import Instance
from tasks.dicom.reader import Reader
from tasks.dicom.series import Found, Series, series_in
from tasks.errors import ChangedSceneError, SceneError, UndeclaredError
from tasks.files.declared import lies_below
from tasks.files.fingerprint import file_sha256


@dataclass(frozen=True)
class Unread:
    """A file that says nothing of itself.

    Attributes:
        path: The file.
        error: Why.
    """

    path: str
    error: SceneError


@dataclass(frozen=True)
class Scan:
    """What was found.

    Attributes:
        found: Volumes, and what is none, in an order that does not depend on that of the files.
        unread: Files that cannot be read.
        instances: All files that were read.
    """

    found: tuple[Found, ...]
    unread: tuple[Unread, ...] = ()
    instances: tuple[Instance, ...] = ()


def scan(named: Path, reader: Reader) -> Scan:
    """Read the headers of the DICOM files that a path leads to.

    Args:
        named: A file, a folder, or a DICOMDIR.
        reader: Reads them.
    """
    instances, unread = [], []
    for path in _files(named, reader):
        if isinstance(path, Unread):
            unread.append(path)
            continue
        try:
            instances.append(reader.header(str(path)))
        except SceneError as error:
            unread.append(Unread(str(path), error))
    return Scan(tuple(series_in(_told_apart(instances))), tuple(unread), tuple(instances))


def series_of(files: Iterable[str], key: str, reader: Reader) -> Series:
    """Return the volume of that key among files.

    Raises:
        SceneError: When a file cannot be read any more, or they hold other volumes now.
    """
    instances = _told_apart([reader.header(path) for path in files])
    for found in series_in(instances):
        if found.series is not None and found.series.key == key:
            return found.series
    raise ChangedSceneError("its files were replaced since they were listed. Run again")


def _files(named: Path, reader: Reader) -> Iterator[Path | Unread]:
    if named.is_dir():
        yield from dicom_below(named)
    elif named.name.upper() != DICOMDIR:
        yield named
    else:
        try:
            listed = reader.listed(str(named))
        except SceneError as error:
            yield Unread(str(named), error)
            return
        yield from (_member(named, parts) for parts in listed)


def _member(index: Path, parts: Sequence[str]) -> Path | Unread:
    """Return a file that a DICOMDIR names; what lies outside its folder is not read."""
    folder = index.parent
    # Media are written in capitals, and mounted as people like it.
    spellings = (folder.joinpath(*parts), folder.joinpath(*(part.lower() for part in parts)))
    path = next((spelling for spelling in spellings if spelling.is_file()), spellings[0])
    if ".." in parts or not lies_below(path, [folder]):
        error: SceneError = UndeclaredError(f"{index.name}: names a file outside its folder, which is not read")
        return Unread(str(path), error)
    return path


def _told_apart(instances: Sequence[Instance]) -> list[Instance]:
    """Hash files that have one UID, so that copies can be told from other contents."""
    counts: dict[str, int] = {}
    for instance in instances:
        counts[instance.sop_instance_uid] = counts.get(instance.sop_instance_uid, 0) + 1
    return [_hashed(instance, counts) for instance in instances]


def _hashed(instance: Instance, counts: Mapping[str, int]) -> Instance:
    if counts[instance.sop_instance_uid] == 1:
        return instance
    return replace(instance, sha256=file_sha256(instance.path))
