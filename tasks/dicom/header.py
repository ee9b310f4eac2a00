"""Reads the header of one DICOM file. Runs in the child process of ``tasks.dicom.reader`` only."""

from __future__ import annotations

import hashlib
import math
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydicom import Dataset, Sequence, config, dcmread
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from tasks.dicom.instance import Dose, Instance, PixelLayout, Slice, Trait
from tasks.dicom.mosaic import tiles
from tasks.errors import UnreadableSceneError

# Odd values are met with the errors below where they matter; pydicom's warnings would reach nobody.
config.settings.reading_validation_mode = config.IGNORE

# What pydicom raises on damaged files.
DAMAGED = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError, OverflowError, EOFError,
    AssertionError, RecursionError, OSError, struct.error, zlib.error, InvalidDicomError, BytesLengthException,
)  # fmt: skip
NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
PIXELS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
_MOST_SLICES = 1 << 20
_MAGIC_OFFSET = 128
_LONGEST_REASON = 200
# A date, and an hour: a date alone is no moment.
_FEWEST_DIGITS = 10
_FEWEST_BYTES_OF_A_FRAME = 8
_DIGITS_OF_A_DATE = 8
# No scanner is as large.
_FURTHEST_MM = 1e6
_TAGS: list[Any] = [
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality",
    "ImageType", "SeriesDescription", "ProtocolName", "Rows", "Columns", "SamplesPerPixel",
    "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "NumberOfFrames",
    "PixelSpacing", "PixelSpacingCalibrationType", "SequenceOfUltrasoundRegions", "ImagePositionPatient",
    "ImageOrientationPatient", "SliceThickness", "SpacingBetweenSlices", "RescaleSlope", "RescaleIntercept",
    "InstanceNumber", "EchoTime", "EchoNumbers", "InversionTime", "TemporalPositionIdentifier",
    "NominalCardiacTriggerDelayTime", "NominalPercentageOfCardiacPhase", "TriggerTime", "AcquisitionNumber",
    "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "ContentDate", "ContentTime", "DiffusionBValue",
    "DiffusionGradientOrientation", "SeriesDate", "SeriesTime", "QualityControlImage", "BurnedInAnnotation",
    "PatientID", "StudyDate", "ModalityLUTSequence", "LossyImageCompression", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "Units", "CorrectedImage",
    "DecayCorrection", "PatientWeight", "RadiopharmaceuticalInformationSequence", "FrameTime",
    # Private: diffusion and mosaics of Siemens, diffusion of GE and of Philips.
    0x00190010, 0x0019100A, 0x0019100C, 0x0019100E, 0x00290010, 0x00290011, 0x00291010, 0x00291110,
    0x00430010, 0x00431039, 0x20010010, 0x20011003,
]  # fmt: skip

_T = TypeVar("_T")


def read_instance(path: str) -> Instance:
    """Read the header of a file, up to its pixels.

    Raises:
        UnreadableSceneError: When it is no DICOM, or too damaged to say what it is.
    """
    try:
        with Path(path).open("rb") as file:
            dataset = dcmread(file, stop_before_pixels=True, force=_lacks_preamble(file), specific_tags=_TAGS)
            _require_frames(dataset, Path(path).stat().st_size)
            return _instance(path, dataset, _pixel_tag(file, dataset))
    except DAMAGED as error:
        raise UnreadableSceneError(
            f"not readable as DICOM ({reason(error, path)}). Copy the file again, or leave it out"
        ) from error


def read_directory(path: str) -> list[list[str]]:
    """Return the files that a DICOMDIR names, each by its folders and its own name.

    Raises:
        UnreadableSceneError: When it is none, or damaged.
    """
    try:
        dataset = dcmread(path, specific_tags=["DirectoryRecordSequence"])
        named = [_texts(record, "ReferencedFileID") for record in _items(dataset, "DirectoryRecordSequence")]
    except DAMAGED as error:
        raise UnreadableSceneError(
            f"not readable as a DICOMDIR ({reason(error, path)}). Name its folder instead"
        ) from error
    return [list(parts) for parts in named if parts]


def reason(error: BaseException, path: str) -> str:
    """Return what an error says, in one line and without the file's name, which may name a patient."""
    text = " ".join(str(error).replace(path, "the file").split())[:_LONGEST_REASON]
    return text or type(error).__name__


def _lacks_preamble(file: BinaryIO) -> bool:
    start = file.read(_MAGIC_OFFSET + 4)
    file.seek(0)
    return start[_MAGIC_OFFSET:] != b"DICM"


def _require_frames(dataset: Dataset, n_bytes: int) -> None:
    """Refuse a number of frames that a file of its size cannot hold, before a slice is made of each."""
    n_frames = _whole(dataset, "NumberOfFrames") or 1
    if n_frames > 1 and n_frames * _FEWEST_BYTES_OF_A_FRAME > n_bytes:
        raise ValueError(f"{n_frames} frames in {n_bytes} bytes")


def _pixel_tag(file: BinaryIO, dataset: Dataset) -> int | None:
    """Return the tag of pixel data that follows what was read; None where there is none."""
    if transfer_syntax(dataset) == DeflatedExplicitVRLittleEndian:
        # The stream was unpacked to its end; what it holds is found where it is decoded.
        return 0x7FE00010 if "Rows" in dataset else None
    start = file.read(4)
    if len(start) < 4:
        return None
    group, element = struct.unpack(">HH" if transfer_syntax(dataset) == ExplicitVRBigEndian else "<HH", start)
    tag = group << 16 | element
    return tag if tag in PIXELS else None


def transfer_syntax(dataset: Dataset) -> str:
    """Return the transfer syntax of a file, guessed from how its elements are encoded where it does not tell."""
    declared = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    if declared:
        return str(declared)
    is_implicit, is_little = dataset.original_encoding
    if is_implicit is None:
        return ""
    return str(ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian)


def _instance(path: str, dataset: Dataset, pixel_tag: int | None) -> Instance:
    sop = _text(dataset, "SOPInstanceUID")
    if not sop and not _text(dataset, "SOPClassUID"):
        raise ValueError("neither SOPClassUID nor SOPInstanceUID is there")
    instance = Instance(
        path=path,
        sop_class_uid=_text(dataset, "SOPClassUID"),
        # A file without a UID is one of a kind.
        sop_instance_uid=sop or f"without-{hashlib.sha256(path.encode()).hexdigest()[:16]}",
        study_uid=_text(dataset, "StudyInstanceUID"),
        series_uid=_text(dataset, "SeriesInstanceUID"),
        frame_of_reference_uid=_text(dataset, "FrameOfReferenceUID"),
        transfer_syntax_uid=transfer_syntax(dataset),
        modality=_text(dataset, "Modality") or "OT",
        image_type=_texts(dataset, "ImageType"),
        description=" ".join(filter(None, (_text(dataset, "SeriesDescription"), _text(dataset, "ProtocolName")))),
        layout=None if pixel_tag is None else _layout(dataset, PIXELS[pixel_tag]),
        patient_id=_text(dataset, "PatientID"),
        date=_date(dataset),
        is_quality_control=_text(dataset, "QualityControlImage") == "YES",
        is_burnt_in=_text(dataset, "BurnedInAnnotation") == "YES",
        is_lossy=_text(dataset, "LossyImageCompression") == "01",
        has_value_table=bool(_items(dataset, "ModalityLUTSequence")),
        dose=_dose(dataset) if _text(dataset, "Modality") == "PT" else None,
    )
    if instance.layout is None:
        return instance
    return _with_slices(instance, dataset)


def _date(dataset: Dataset) -> str:
    """Return the ISO date of the acquisition, in the order in which results take theirs."""
    for what in ("Series", "Acquisition", "Content", "Study"):
        text = re.sub(r"[.\-/]", "", _text(dataset, f"{what}Date"))
        if len(text) == _DIGITS_OF_A_DATE:
            with suppress(ValueError):
                return datetime.strptime(text, "%Y%m%d").date().isoformat()
    return ""


def _with_slices(instance: Instance, dataset: Dataset) -> Instance:
    layout = instance.layout
    n_frames = _whole(dataset, "NumberOfFrames") or 1
    if layout is None or not 1 <= n_frames <= _MOST_SLICES:
        raise ValueError(f"NumberOfFrames is {n_frames}")
    first = _plain_slice(instance, dataset)
    mosaic = tiles(dataset, first, layout, instance.image_type)
    if mosaic is not None:
        rows, cols, planes = mosaic
        return replace(instance, layout=replace(layout, rows=rows, cols=cols), slices=tuple(planes))
    calibrated = _calibrated(dataset, instance.modality)
    shared = _items(dataset, "SharedFunctionalGroupsSequence")
    per_frame = _items(dataset, "PerFrameFunctionalGroupsSequence")
    if not per_frame and not shared:
        # Frames that nothing places: of ultrasound, of secondary captures.
        planes = [replace(first, frame=k, number=first.number + k) for k in range(n_frames)]
        return replace(instance, calibrated_spacing_mm=calibrated, slices=tuple(planes))
    if len(per_frame) not in (0, n_frames):
        raise ValueError(f"{n_frames} frames, and functional groups of {len(per_frame)}")
    groups = [[*(per_frame[k : k + 1]), *shared[:1]] for k in range(n_frames)]
    frames = tuple(_enhanced_slice(first, k, group) for k, group in enumerate(groups))
    return replace(instance, calibrated_spacing_mm=calibrated, slices=frames)


def _layout(dataset: Dataset, keyword: str) -> PixelLayout:
    rows, cols = _whole(dataset, "Rows"), _whole(dataset, "Columns")
    if not rows or not cols:
        raise ValueError(f"pixel data of {rows or 0} rows and {cols or 0} columns")
    allocated = _whole(dataset, "BitsAllocated") or 16
    stored = _whole(dataset, "BitsStored") or allocated
    return PixelLayout(
        rows=rows,
        cols=cols,
        samples=_whole(dataset, "SamplesPerPixel") or 1,
        photometric=_text(dataset, "PhotometricInterpretation") or "MONOCHROME2",
        bits_allocated=allocated,
        bits_stored=min(stored, allocated),
        high_bit=_or(_whole(dataset, "HighBit"), stored - 1),
        is_signed=_whole(dataset, "PixelRepresentation") == 1,
        is_float=keyword != "PixelData",
    )


def _plain_slice(instance: Instance, dataset: Dataset) -> Slice:
    return Slice(
        path=instance.path,
        sop_instance_uid=instance.sop_instance_uid,
        position_mm=_three(dataset, "ImagePositionPatient"),
        orientation=_numbers(dataset, "ImageOrientationPatient", 6),
        pixel_spacing_mm=_two(dataset, "PixelSpacing"),
        thickness_mm=_number(dataset, "SliceThickness"),
        slope=_scaling(dataset, "RescaleSlope", 1.0),
        intercept=_scaling(dataset, "RescaleIntercept", 0.0),
        number=_or(_whole(dataset, "InstanceNumber"), 0),
        traits=_known(_plain_traits(dataset)),
    )


def _scaling(dataset: Dataset, keyword: str, otherwise: float) -> float:
    """Return a number by which values are told; NaN where the file holds something else, which is not to be guessed."""
    stored = dataset.get_item(keyword).value if keyword in dataset else None
    is_empty = stored is None or not (stored.strip(b" \0") if isinstance(stored, bytes) else str(stored).strip())
    return otherwise if is_empty else _or(_number(dataset, keyword), math.nan)


def _plain_traits(dataset: Dataset) -> Iterator[tuple[str, Trait | None]]:
    yield "image_type", "\\".join(_texts(dataset, "ImageType")) or None
    yield "echo_ms", _number(dataset, "EchoTime")
    yield "echo", _text(dataset, "EchoNumbers") or None
    yield "b_value", _b_value(dataset)
    yield "direction", _direction(_numbers(dataset, "DiffusionGradientOrientation", 3) or _private_direction(dataset))
    yield "inversion_ms", _number(dataset, "InversionTime")
    yield "time_index", _whole(dataset, "TemporalPositionIdentifier")
    yield "phase", _number(dataset, "NominalPercentageOfCardiacPhase")
    yield "trigger_ms", _or(_number(dataset, "NominalCardiacTriggerDelayTime"), _number(dataset, "TriggerTime"))
    yield "acquisition", _whole(dataset, "AcquisitionNumber")
    # Without a date, the time of day tells as much.
    yield "acquired", _or(_moment(dataset, "Acquisition"), _number(dataset, "AcquisitionTime"))
    yield "content", _or(_moment(dataset, "Content"), _number(dataset, "ContentTime"))


def _enhanced_slice(first: Slice, frame: int, groups: list[Dataset]) -> Slice:
    """Return a frame of an enhanced object, whose own functional groups go before the shared ones."""
    position = _group(groups, "PlanePositionSequence", "ImagePositionPatient")
    orientation = _group(groups, "PlaneOrientationSequence", "ImageOrientationPatient")
    measures = _group(groups, "PixelMeasuresSequence", "PixelSpacing")
    values = _group(groups, "PixelValueTransformationSequence", "RescaleSlope")
    return replace(
        first,
        frame=frame,
        position_mm=_three(position, "ImagePositionPatient") or first.position_mm,
        orientation=_numbers(orientation, "ImageOrientationPatient", 6) or first.orientation,
        pixel_spacing_mm=_two(measures, "PixelSpacing") or first.pixel_spacing_mm,
        thickness_mm=_or(_number(measures, "SliceThickness"), first.thickness_mm),
        slope=_scaling(values, "RescaleSlope", first.slope),
        intercept=_scaling(values, "RescaleIntercept", first.intercept),
        number=frame,
        traits={**first.traits, **_known(_enhanced_traits(groups))},
    )


def _enhanced_traits(groups: list[Dataset]) -> Iterator[tuple[str, Trait | None]]:
    content = _group(groups, "FrameContentSequence", "FrameContentSequence")
    diffusion = _group(groups, "MRDiffusionSequence", "DiffusionBValue")
    gradient = _items(diffusion, "DiffusionGradientDirectionSequence")
    cardiac = _group(groups, "CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime")
    timing = _group(groups, "TemporalPositionSequence", "TemporalPositionTimeOffset")
    frame_types = [
        _group(groups, name, "FrameType")
        for name in ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence")
    ]
    yield "image_type", "\\".join(next(filter(None, (_texts(each, "FrameType") for each in frame_types)), ())) or None
    yield "echo_ms", _number(_group(groups, "MREchoSequence", "EffectiveEchoTime"), "EffectiveEchoTime")
    yield "b_value", _number(diffusion, "DiffusionBValue")
    along = _numbers(gradient[0], "DiffusionGradientOrientation", 3) if gradient else None
    yield "direction", _direction(along)
    yield "time_index", _or(_whole(content, "TemporalPositionIndex"), _number(timing, "TemporalPositionTimeOffset"))
    yield "phase", _number(cardiac, "NominalPercentageOfCardiacPhase")
    yield "trigger_ms", _number(cardiac, "NominalCardiacTriggerDelayTime")
    yield "acquisition", _whole(content, "FrameAcquisitionNumber")
    yield "stack", _text(content, "StackID") or None
    yield "acquired", _seconds(_text(content, "FrameAcquisitionDateTime"))


def _group(groups: list[Dataset], sequence: str, keyword: str) -> Dataset:
    """Return the first functional group that says something of ``keyword``, or an empty one."""
    for group in groups:
        for item in _items(group, sequence):
            if keyword in (sequence, *item.dir()):
                return item
    return Dataset()


def _b_value(dataset: Dataset) -> float | None:
    found = _number(dataset, "DiffusionBValue")
    if found is not None:
        return found
    if _text(dataset, 0x00190010).startswith("SIEMENS"):
        return _number(dataset, 0x0019100C)
    if _text(dataset, 0x00430010).startswith("GEMS_PARM"):
        slop = _numbers(dataset, 0x00431039)
        # GE adds a billion where it means something else as well.
        return None if not slop else slop[0] % 1e9
    if _text(dataset, 0x20010010).startswith("Philips"):
        return _number(dataset, 0x20011003)
    return None


def _private_direction(dataset: Dataset) -> tuple[float, ...] | None:
    return _numbers(dataset, 0x0019100E, 3) if _text(dataset, 0x00190010).startswith("SIEMENS") else None


def _direction(along: tuple[float, ...] | None) -> str | None:
    return None if along is None else " ".join(f"{value:.4f}" for value in along)


def _calibrated(dataset: Dataset, modality: str) -> tuple[float, float] | None:
    """Return the size of a pixel in the patient; what is measured at the detector is none."""
    if modality == "US":
        regions = _items(dataset, "SequenceOfUltrasoundRegions")
        # 3 stands for centimetres; more than one scale in one picture is none for the picture.
        scales = {
            (abs(_or(_number(region, "PhysicalDeltaY"), 0.0)), abs(_or(_number(region, "PhysicalDeltaX"), 0.0)))
            for region in regions
            if _whole(region, "PhysicalUnitsXDirection") == 3 == _whole(region, "PhysicalUnitsYDirection")
        }
        if len(scales) != 1 or len(regions) != 1:
            return None
        down, right = scales.pop()
        return (10 * down, 10 * right) if down > 0 and right > 0 else None
    spacing = _two(dataset, "PixelSpacing")
    if modality in ("CT", "MR", "PT", "NM"):
        return spacing
    return spacing if _text(dataset, "PixelSpacingCalibrationType") in ("GEOMETRY", "FIDUCIAL") else None


def _dose(dataset: Dataset) -> Dose:
    items = _items(dataset, "RadiopharmaceuticalInformationSequence")
    given = items[0] if items else Dataset()
    series_day = _text(dataset, "SeriesDate")
    injected = _seconds(_text(given, "RadiopharmaceuticalStartDateTime"))
    series = _moment(dataset, "Series")
    if injected is None:
        injected = _seconds(series_day + _text(given, "RadiopharmaceuticalStartTime"))
        if injected is not None and series is not None and injected > series:
            # A time without a date, before midnight.
            injected -= 86_400.0
    return Dose(
        units=_text(dataset, "Units") or None,
        corrected=_texts(dataset, "CorrectedImage"),
        decay_correction=_text(dataset, "DecayCorrection") or None,
        weight_kg=_number(dataset, "PatientWeight"),
        dose_bq=_number(given, "RadionuclideTotalDose"),
        half_life_s=_number(given, "RadionuclideHalfLife"),
        injected_s=injected,
        series_s=series,
        acquired_s=_moment(dataset, "Acquisition"),
    )


def _moment(dataset: Dataset, what: str) -> float | None:
    whole = _seconds(_text(dataset, f"{what}DateTime"))
    return whole if whole is not None else _seconds(_text(dataset, f"{what}Date") + _text(dataset, f"{what}Time"))


def _seconds(text: str) -> float | None:
    """Return a date and time of DICOM as seconds of a clock without time zones; None where either is missing."""
    digits, _, fraction = text.split("+")[0].split("-")[0].partition(".")
    if len(digits) < _FEWEST_DIGITS:
        return None
    try:
        whole = datetime.strptime(digits[:14], "%Y%m%d%H%M%S"[: 2 * (len(digits[:14]) // 2) - 2])
        return (whole - datetime(1900, 1, 1)).total_seconds() + float(f"0.{fraction or 0}")
    except ValueError:
        return None


def _known(traits: Iterator[tuple[str, Trait | None]]) -> dict[str, Trait]:
    return {name: value for name, value in traits if value is not None}


def _or(value: _T | None, other: _T) -> _T:
    return other if value is None else value


def _value(dataset: Dataset, keyword: str | int) -> Any:  # noqa: ANN401 - what DICOM holds
    """Return an element's value; None where it is missing or its text is no such value."""
    try:
        if isinstance(keyword, int):
            return dataset[keyword].value if keyword in dataset else None
        return dataset.get(keyword)
    except DAMAGED:
        return None


def _text(dataset: Dataset, keyword: str | int) -> str:
    values = _texts(dataset, keyword)
    return values[0] if values else ""


def _texts(dataset: Dataset, keyword: str | int) -> tuple[str, ...]:
    value = _value(dataset, keyword)
    if value is None:
        return ()
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    values = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else value
    return tuple(str(each).strip(" \0") for each in values)


def _numbers(dataset: Dataset, keyword: str | int, length: int | None = None) -> tuple[float, ...] | None:
    """Return finite numbers; None where there are none or, where a length is asked for, another number of them."""
    value = _value(dataset, keyword)
    if isinstance(value, bytes):
        # A private element of an implicit file, whose type nobody knows.
        return None
    values = value if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
    try:
        numbers = tuple(float(each) for each in values)
    except DAMAGED:
        return None
    if not numbers or not all(math.isfinite(each) for each in numbers) or length not in (None, len(numbers)):
        return None
    return numbers


def _number(dataset: Dataset, keyword: str | int) -> float | None:
    numbers = _numbers(dataset, keyword)
    return None if numbers is None else numbers[0]


def _whole(dataset: Dataset, keyword: str) -> int | None:
    number = _number(dataset, keyword)
    return None if number is None else int(number)


def _two(dataset: Dataset, keyword: str) -> tuple[float, float] | None:
    numbers = _numbers(dataset, keyword, 2)
    return None if numbers is None else (numbers[0], numbers[1])


def _three(dataset: Dataset, keyword: str) -> tuple[float, float, float] | None:
    numbers = _numbers(dataset, keyword, 3)
    if numbers is None or max(map(abs, numbers)) > _FURTHEST_MM:
        return None
    return numbers[0], numbers[1], numbers[2]


def _items(dataset: Dataset | Mapping[str, Any], keyword: str) -> list[Dataset]:
    value = dataset.get(keyword)
    return list(value) if isinstance(value, Sequence) else []
