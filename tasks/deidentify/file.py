"""One file, from what the hospital wrote to what may be shown, streamed; or a named refusal."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID

from tasks.deidentify.damage import UNDECODABLE, require_damage
from tasks.deidentify.dataset import Cleaner, Done, identifiers, patient_of
from tasks.deidentify.pixels import copy_pixels
from tasks.deidentify.reading import Opened, opened, text_of
from tasks.deidentify.rules import Rules, classes
from tasks.deidentify.text import Scrubber
from tasks.errors import IdentifyingError
from tasks.files.durable import sync
from tasks.files.pseudonyms import Pseudonyms
from tasks.files.room import writing
from tasks.jobs.deidentify import Deidentification, Option

# Files by this program are known by it; 2.25 and a UUID drawn once.
IMPLEMENTATION_UID = "2.25.161325190229434906722094741437211853267"

# CID 7050.
_BASIC = ("113100", "Basic Application Confidentiality Profile")
_ON_PIXELS = (
    ("113101", "Clean Pixel Data Option"),
    ("113102", "Clean Recognizable Visual Features Option"),
    ("113103", "Clean Graphics Option"),
)
_CODES: Mapping[Option, tuple[str, str]] = {
    "clean-structured-content": ("113104", "Clean Structured Content Option"),
    "clean-descriptors": ("113105", "Clean Descriptors Option"),
    "modified-dates": ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    "patient-characteristics": ("113108", "Retain Patient Characteristics Option"),
    "device": ("113109", "Retain Device Identity Option"),
    "safe-private": ("113111", "Retain Safe Private Option"),
}

# Whole documents, sounds and formats of makers: nobody can tell what is in them.
_CLOSED_IODS: Mapping[str, str] = {
    "encapsulated-pdf": "a document inside a file",
    "encapsulated-cda": "a document inside a file",
    "encapsulated-stl": "a model inside a file",
    "encapsulated-obj": "a model inside a file",
    "encapsulated-mtl": "a model inside a file",
    "raw-data": "raw data in a format of their maker",
    "basic-voice-audio-waveform": "a voice",
    "general-audio-waveform": "a voice",
    "video-endoscopic-image": "a video",
    "video-microscopic-image": "a video",
    "video-photographic-image": "a video",
    "basic-directory": "a directory",
    "inventory": "a list of patients",
}
_VIDEO_SYNTAXES = "1.2.840.10008.1.2.4.10"
_CHUNK_BYTES = 4 << 20
_REQUIRED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


@dataclass(frozen=True, kw_only=True)
class Written:
    """A file that may be shown.

    Attributes:
        patient: Pseudonym.
        study: Short name.
        series: Short name.
        name: Of the file, relative to where such files lie.
        sha256: Of its bytes.
        admitted: Whether it was put in place.
        done: What was done to it.
    """

    patient: str
    study: str
    series: str
    name: str
    sha256: str
    admitted: bool
    done: Done


def deidentify_file(
    path: Path,
    target: Path,
    settings: Deidentification,
    pseudonyms: Pseudonyms,
    admit: Callable[[str, str], bool] = lambda name, sha256: True,
) -> Written:
    """Write the file that stands for another, under names that tell nothing, and through to the disk.

    Args:
        path: Of the file of the hospital.
        target: Folder that results lie below.
        settings: Options of the profile.
        pseudonyms: Of the institution.
        admit: Is asked with name and hash whether the finished file takes its place; it may raise.

    Raises:
        IdentifyingError: When it cannot be freed of what names a patient; its text holds no value of the file.
        StoreError: When the target cannot be written to, or is full.
    """
    with opened(path) as source:
        header = source.header
        rules = _rules(source, settings)
        patient = patient_of(header, pseudonyms)
        cleaner = Cleaner(
            rules=rules,
            pseudonyms=pseudonyms,
            patient=patient,
            scrubber=Scrubber.of(identifiers(header, rules)),
            done=Done(),
        )
        cleaned = cleaner.cleaned(header)
        _declare(cleaned, settings)
        study = pseudonyms.study(text_of(header, "StudyInstanceUID"))
        series = pseudonyms.series(text_of(header, "SeriesInstanceUID"))
        name = f"{patient.pseudonym}/{study}/{series}/{cleaned.SOPInstanceUID}.dcm"
        with _put(target / name) as file:
            _write(file, cleaned, source)
            sha256 = _sha256(file)
            admitted = admit(name, sha256)
            if not admitted:
                file.close()
        return Written(
            patient=patient.pseudonym,
            study=study,
            series=series,
            name=name,
            sha256=sha256,
            admitted=admitted,
            done=cleaner.done,
        )


def _rules(source: Opened, settings: Deidentification) -> Rules:
    """Return the rules of the file's SOP class; a class without rules is refused."""
    header = source.header
    missing = [keyword for keyword in _REQUIRED if not text_of(header, keyword)]
    if missing:
        raise IdentifyingError("incomplete", f"holds no {' and no '.join(missing)}; nothing can be told of it")
    sop_class = UID(text_of(header, "SOPClassUID"))
    defined = classes().defined(sop_class)
    if defined is None:
        # A private class may be named after whoever made it.
        known = f" {sop_class.name}" if sop_class.name != sop_class else ""
        raise IdentifyingError("sop-class", f"there are no rules for its SOP class{known}, so nothing of it may stay")
    closed = _CLOSED_IODS.get(classes().iods[sop_class])
    if closed is not None:
        raise IdentifyingError("closed-content", f"{closed}, which cannot be searched for names")
    if source.syntax.startswith(_VIDEO_SYNTAXES):
        raise IdentifyingError("closed-content", "a video, which cannot be searched for names")
    if not source.has_pixels and text_of(header, "Rows") and text_of(header, "BitsAllocated"):
        raise IdentifyingError("no-pixels", "an image without its pixels. Copy the file again")
    return Rules(frozenset(settings.options), defined)


def _declare(cleaned: Dataset, settings: Deidentification) -> None:
    """Say in the file what was done to it: (0012,0062) to (0012,0064), (0028,0303).

    What others did to its pixels before is still true.
    """
    said = cleaned.get("DeidentificationMethodCodeSequence") or ()
    earlier = [code for code in _ON_PIXELS if any(text_of(item, "CodeValue") == code[0] for item in said)]
    cleaned.PatientIdentityRemoved = "YES"
    cleaned.DeidentificationMethod = f"swathe {version('swathe')}"
    codes = [_BASIC, *earlier, *(code for option, code in _CODES.items() if option in settings.options)]
    cleaned.DeidentificationMethodCodeSequence = DicomSequence([_code_item(*code) for code in codes])
    kept = "modified-dates" in settings.options
    cleaned.LongitudinalTemporalInformationModified = "MODIFIED" if kept else "REMOVED"


def _code_item(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def _file_meta(cleaned: Dataset, syntax: UID) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = cleaned.SOPClassUID
    meta.MediaStorageSOPInstanceUID = cleaned.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = "SWATHE"
    return meta


@contextmanager
def _put(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that is put in place in one step at the end, unless it was closed or an error came up."""
    with writing("de-identified files", path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        part.unlink(missing_ok=True)
        try:
            with part.open("x+b") as file:
                yield file
                wanted = not file.closed
            if wanted:
                sync(part)
                part.replace(path)
                sync(path.parent)
        finally:
            part.unlink(missing_ok=True)


def _write(file: BinaryIO, cleaned: Dataset, source: Opened) -> None:
    whole = FileDataset(io.BytesIO(), cleaned, preamble=bytes(128), file_meta=_file_meta(cleaned, source.syntax))
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            dcmwrite(file, whole, enforce_file_format=True)
        if any("encode value" in str(warning.message) for warning in heard):
            # pydicom writes question marks where it does not know how: Latin letters beside katakana of ISO_IR 13.
            _become_utf8(whole)
            file.seek(0)
            file.truncate()
            dcmwrite(file, whole, enforce_file_format=True)
    except UNDECODABLE as error:
        require_damage(error)
        raise IdentifyingError(
            "damaged", f"what is left of it cannot be written ({type(error).__name__}): an element has a wrong value"
        ) from error
    if source.has_pixels:
        file.seek(0, os.SEEK_END)
        copy_pixels(source.body, file, source.header, source.syntax)


def _become_utf8(dataset: Dataset) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                _become_utf8(item)


def _sha256(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()
