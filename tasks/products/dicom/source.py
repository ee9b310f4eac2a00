"""What results take from the headers of their source: an allow-list, as it is or under pseudonyms."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

from highdicom import PixelMeasuresSequence, PlaneOrientationSequence
from pydicom import Dataset, dcmread

from tasks.deidentify.dates import shifted_date, valid_time
from tasks.dicom.header import DAMAGED, reason
from tasks.dicom.series import Series
from tasks.errors import UnreadableSceneError
from tasks.files.keys import InstitutionKey
from tasks.files.pseudonyms import Pseudonyms, whose
from tasks.products.dicom.order import Order

# Stands where a source has no date at all, and the standard wants one.
NO_DATE, NO_TIME = "19000101", "000000"
# What the standard wants to be there of every patient and study, be it empty.
PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
STUDY = ("StudyInstanceUID", "StudyID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName")
# What tells the same in all files of a study, where the source's own identifiers are wanted.
CARRIED = (
    "IssuerOfPatientID", "PatientAge", "PatientSize", "PatientWeight", "StudyDescription", "TimezoneOffsetFromUTC",
    "EthnicGroup", "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
)  # fmt: skip
_IMAGE = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality", "Rows", "Columns",
    "NumberOfFrames", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
    "SpacingBetweenSlices", "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod",
    "PerFrameFunctionalGroupsSequence", "PositionReferenceIndicator",
)  # fmt: skip
_UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
_MADE_BY = ("Manufacturer", "ManufacturerModelName", "SoftwareVersions")
_MOMENTS = ("Series", "Acquisition", "Content", "Study")
_ASKED = (
    *(*PATIENT, *STUDY, *CARRIED, *_IMAGE, *_MADE_BY, "SpecificCharacterSet", "SeriesNumber"),
    *(f"{what}{part}" for what in _MOMENTS if what != "Study" for part in ("Date", "Time")),
)
_SEXES = ("M", "F", "O")
_UTF8 = "ISO_IR 192"
# Numbers of series of results begin here, as far apart for each source.
_FIRST_NUMBER, _APART = 10_000, 10


@dataclass(frozen=True, kw_only=True)
class Source:
    """The source as results refer to it.

    Attributes:
        images: Header of each file, reduced, in the order of the slices.
        date: DA, of the results.
        time: TM, of the results.
        series_number: That results are counted from.
        made_by: Manufacturer, model and software of the scanner, as far as the source tells.
        character_set: Of texts in results.
        uids: Makes the UIDs of results.
    """

    images: list[Dataset]
    date: str
    time: str
    series_number: int
    made_by: dict[str, str]
    character_set: Any
    uids: ResultUids

    @property
    def first(self) -> Dataset:
        """The header of the first file."""
        return self.images[0]

    @property
    def frame_of_reference_uid(self) -> str:
        """Of the grid, as results name it."""
        return str(self.first.FrameOfReferenceUID)


@dataclass(frozen=True)
class ResultUids:
    """UIDs of what is made: keyed hashes, so that the same input gives the same ones and nobody else can guess them.

    Attributes:
        pseudonyms: Of the institution.
        volume: What names the source volume, also when more of its slices come, and how it was worked on.
    """

    pseudonyms: Pseudonyms
    volume: str

    def tracking(self, name: str) -> str:
        """Return the UID by which programs know a class or a lesion again, by its name."""
        return self.of("tracking", name)

    def of(self, *parts: str) -> str:
        """Return the UID of something made of the volume."""
        text = json.dumps([self.volume, *parts])
        return self.pseudonyms.uid(f"result {hashlib.sha256(text.encode()).hexdigest()}")


def read_source(order: Order) -> Source:
    """Read the headers of a series, reduce them to what results need, and put pseudonyms in where they are wanted.

    Raises:
        UnreadableSceneError: When a header is damaged.
    """
    series = order.series
    pseudonyms = Pseudonyms(InstitutionKey(bytes.fromhex(order.key)))
    images = []
    for path in series.paths:
        try:
            found = dcmread(path, stop_before_pixels=True, force=True, specific_tags=list(_ASKED))
            images.append(_reduced(found, series, pseudonyms))
        except DAMAGED as error:
            raise UnreadableSceneError(f"its header cannot be read again ({reason(error, path)})") from error
    first = images[0]
    character_set = first.get("SpecificCharacterSet") if _is_ascii(order) else None
    for header in images:
        # Texts were decoded; what results are written in is settled at their end.
        header.SpecificCharacterSet = _UTF8
    date, time = _moment(first)
    made_by = {name: text for name in _MADE_BY if (text := _text(first, name))}
    number = _text(first, "SeriesNumber")
    source = Source(
        images=images,
        date=date,
        time=time,
        series_number=_FIRST_NUMBER + _APART * (int(number) if number.isdigit() else 0),
        made_by=made_by,
        character_set=character_set or _UTF8,
        uids=ResultUids(pseudonyms, " ".join((series.study_uid, order.scene, order.model, order.whose))),
    )
    return source if order.whose == "original" else _pseudonymous(source, pseudonyms)


def _is_ascii(order: Order) -> bool:
    """Tell whether every character set holds the texts of results."""
    terms = (term.meaning for pair in order.terms.values() for term in pair)
    labels = (segment.label for layer in order.layers for segment in layer.segments)
    return all(text.isascii() for text in (order.model, *terms, *labels, *order.absent))


def _reduced(found: Dataset, series: Series, pseudonyms: Pseudonyms) -> Dataset:
    """Return a header in the form that every source has."""
    header = _legible(found)
    # What the standard wants to be there, and to be one of some values.
    for name in (*PATIENT, *STUDY):
        if name not in header:
            setattr(header, name, "")
    if _text(header, "PatientSex") not in _SEXES:
        header.PatientSex = ""
    for what in ("PatientBirth", "Study"):
        setattr(header, f"{what}Date", shifted_date(_text(header, f"{what}Date"), 0) or "")
    header.StudyTime = valid_time(_text(header, "StudyTime")) or ""
    if not _text(header, "FrameOfReferenceUID"):
        # Of files that name none, slices of one series lie in one.
        header.FrameOfReferenceUID = pseudonyms.uid(f"frame of reference of {series.series_uid}")
    thickness = next((plane.thickness_mm for plane in series.slices if plane.thickness_mm), series.spacing_mm[0])
    if not _text(header, "SliceThickness"):
        header.SliceThickness = thickness
    if "PerFrameFunctionalGroupsSequence" in header:
        shared = Dataset()
        shared.PlaneOrientationSequence = PlaneOrientationSequence("PATIENT", series.orientation)
        shared.PixelMeasuresSequence = PixelMeasuresSequence(series.pixel_spacing_mm, float(thickness))
        header.SharedFunctionalGroupsSequence = [shared]
        header.PerFrameFunctionalGroupsSequence = [_place(item) for item in header.PerFrameFunctionalGroupsSequence]
    return header


def _legible(found: Dataset) -> Dataset:
    """Return the elements whose values can be read; what results need of the others is missed later, by name."""
    header = Dataset()
    for tag in found.keys():  # noqa: SIM118 - over the elements themselves it would end at the first damaged one
        try:
            if found[tag].value is not None:
                header.add(found[tag])
        except DAMAGED:
            continue
    return header


def _place(item: Dataset) -> Dataset:
    """Return the one functional group of a frame by which results are laid over it."""
    group = Dataset()
    group.update({element.tag: element for element in item if element.keyword == "PlanePositionSequence"})
    return group


def _moment(header: Dataset) -> tuple[str, str]:
    """Return the first date of the source with its time: when the series was acquired, else when the study was."""
    for what in _MOMENTS:
        date = shifted_date(_text(header, f"{what}Date"), 0)
        if date is not None:
            return date, valid_time(_text(header, f"{what}Time")) or NO_TIME
    return NO_DATE, NO_TIME


def _pseudonymous(source: Source, pseudonyms: Pseudonyms) -> Source:
    patient = whose(_text(source.first, "PatientID"), _text(source.first, "StudyInstanceUID"))
    days = pseudonyms.days(patient)
    for header in source.images:
        header.PatientName = header.PatientID = pseudonyms.patient(patient)
        header.PatientBirthDate = header.PatientSex = ""
        header.StudyID = header.AccessionNumber = header.ReferringPhysicianName = ""
        header.StudyDate = shifted_date(header.StudyDate, days) or ""
        for name in (*CARRIED, "PositionReferenceIndicator"):
            header.pop(name, None)
        header.PatientIdentityRemoved = "YES"
        header.DeidentificationMethod = "swathe: only what is needed was taken over, under keyed pseudonyms"
        for name in _UIDS:
            setattr(header, name, pseudonyms.uid(_text(header, name)))
    date = source.date if source.date == NO_DATE else shifted_date(source.date, days) or NO_DATE
    return replace(source, date=date, character_set=_UTF8)


def _text(header: Dataset, name: str) -> str:
    value: Any = header.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) and hasattr(value, "__iter__") and not hasattr(value, "family_name"):
        value = next(iter(value), "")
    return str(value).strip(" \0")
