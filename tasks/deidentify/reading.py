"""A DICOM file opened up to its pixels, and pydicom kept quiet: what it warns of holds values of the file."""

from __future__ import annotations

import io
import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset, config
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tasks.deidentify.damage import UNDECODABLE, require_damage
from tasks.deidentify.pixels import PIXEL_TAGS
from tasks.errors import IdentifyingError

_MAGIC = slice(128, 132)
_DIRECTORY = "1.2.840.10008.1.3.10"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_MOST_INFLATED = 1 << 30
_UNDEFINED = 0xFFFFFFFF
# As files begin that were written before there was a preamble.
_BARE_STARTS = (b"\x08\x00", b"\x02\x00")


@dataclass(frozen=True)
class Opened:
    """A file up to its pixels.

    Attributes:
        header: Everything before the pixels; its ``file_meta`` is that of the file.
        body: Stands at the element of the pixels, or at the end.
        syntax: How header and pixels are encoded from here on.
        size: Of the whole body in bytes.
    """

    header: Dataset
    body: BinaryIO
    syntax: UID
    size: int

    @property
    def has_pixels(self) -> bool:
        """Whether an element of pixels follows."""
        return self.body.tell() < self.size


@contextmanager
def quiet() -> Iterator[list[warnings.WarningMessage]]:
    """Let pydicom read and write what real files hold, and say nothing of it to anybody but the caller."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    reading, writing = config.settings.reading_validation_mode, config.settings.writing_validation_mode
    logger.setLevel(logging.CRITICAL + 1)
    config.settings.reading_validation_mode = config.settings.writing_validation_mode = config.IGNORE
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            yield heard
    finally:
        logger.setLevel(level)
        config.settings.reading_validation_mode, config.settings.writing_validation_mode = reading, writing


@contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """Open a file up to its pixels.

    Raises:
        IdentifyingError: ``not-dicom``, ``directory``, ``damaged``, ``oversized`` or ``unreadable``.
    """
    try:
        with path.open("rb") as file, quiet() as heard:
            try:
                found = _read(file)
            except (*UNDECODABLE, zlib.error, MemoryError) as error:
                require_damage(error)
                raise IdentifyingError(
                    "damaged", f"its header cannot be read to its end ({type(error).__name__}). Copy the file again"
                ) from error
            if _is_cut(found.header) or any("end of file" in str(warning.message).lower() for warning in heard):
                raise IdentifyingError("truncated", "it ends in the middle of its header. Copy the file again")
            yield found
    except OSError as error:
        raise IdentifyingError("unreadable", f"cannot be opened: {error.strerror}. Mend its permissions") from error


def _read(file: BinaryIO) -> Opened:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(132)
    if head[_MAGIC] != b"DICM":
        if head[:2] not in _BARE_STARTS:
            raise IdentifyingError("not-dicom", "not a DICOM file")
        file.seek(0)
    meta = FileMetaDataset(read_dataset(file, False, True, stop_when=_behind_meta))
    if meta.get("MediaStorageSOPClassUID") == _DIRECTORY:
        raise IdentifyingError("directory", "a DICOMDIR: it lists files under names that they will not have")
    if head[_MAGIC] != b"DICM" and not meta:
        meta.TransferSyntaxUID = ImplicitVRLittleEndian
    syntax = meta.get("TransferSyntaxUID")
    if not isinstance(syntax, UID):
        raise IdentifyingError("damaged", "its file meta names no transfer syntax (0002,0010)")
    body: BinaryIO = file
    if syntax == _DEFLATED:
        inflated = _inflated(file)
        body, syntax, size = io.BytesIO(inflated), ExplicitVRLittleEndian, len(inflated)
    if not syntax.is_transfer_syntax:
        raise IdentifyingError("damaged", "its transfer syntax (0002,0010) is none that the standard knows")
    header = read_dataset(body, syntax.is_implicit_VR, syntax.is_little_endian, stop_when=_at_pixels)
    if header.original_encoding != (syntax.is_implicit_VR, syntax.is_little_endian):
        raise IdentifyingError("damaged", "it is not encoded as its transfer syntax (0002,0010) says")
    header.file_meta = meta
    return Opened(header, body, UID(syntax), size)


def _is_cut(header: Dataset) -> bool:
    """Tell whether an element says that it is longer than what was left of the file."""
    raws: list[object] = [header.get_item(tag) for tag in sorted(header.keys())]
    return any(
        isinstance(raw, RawDataElement) and raw.length != _UNDEFINED and len(raw.value or b"") < raw.length
        for raw in raws
    )


def _behind_meta(tag: BaseTag, vr: str | None, length: int) -> bool:
    del vr, length
    return tag.group != 0x0002


def _at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
    del vr, length
    return tag in PIXEL_TAGS


def _inflated(file: BinaryIO) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data = inflater.decompress(file.read(), _MOST_INFLATED)
    if inflater.unconsumed_tail:
        raise IdentifyingError("oversized", f"inflates to more than {_MOST_INFLATED >> 20} MiB, which is not believed")
    return data


def text_of(header: Dataset, keyword: str) -> str:
    """Return one value as text without its padding; nothing where it is missing or cannot be read."""
    try:
        value = header.get(keyword)
    except UNDECODABLE as error:
        require_damage(error)
        return ""
    return "" if value is None else str(value).strip(" \0")


def texts_of(header: Dataset, keyword: str) -> list[str]:
    """Return all values as text; none where they are missing or cannot be read."""
    try:
        value = header.get(keyword)
        return [] if value is None else [str(one) for one in ([value] if isinstance(value, str) else value)]
    except UNDECODABLE as error:
        require_damage(error)
        return []
