"""Measurements as a structured report by template TID 1500, written and read back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import highdicom as hd
import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes

from tasks.errors import ProductError
from tasks.products.dicom.codes import terms_of
from tasks.products.dicom.order import Layer, Line, Measured, Order, Segment, Total
from tasks.products.dicom.segmentation import MAKER, algorithm_of, coded, settled
from tasks.products.dicom.source import Source

_Group: TypeAlias = (
    hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations | hd.sr.MeasurementsAndQualitativeEvaluations
)
NAME = "report"
_DESCRIPTION = "Measurements, not verified"
_PROCEDURES = {
    "CT": codes.LN.CTUnspecifiedBodyRegion,
    "MR": codes.LN.MRIUnspecifiedBodyRegion,
    "PT": codes.LN.PETUnspecifiedBodyRegion,
    "NM": codes.LN.NMUnspecifiedBodyRegion,
}
_MILLILITRES = hd.sr.CodedConcept("ml", "UCUM", "milliliter")
_MILLIMETRES = codes.UCUM.Millimeter
_PRESENCE = hd.sr.CodedConcept("705057003", "SCT", "Presence")
_PATH = hd.sr.CodedConcept("121055", "DCM", "Path")
_AXES = {"long": codes.SCT.LongAxis, "short": codes.SCT.ShortAxis}


def write_report(order: Order, source: Source, segmentations: Sequence[Dataset]) -> None:
    """Write ``report.dcm``, read it back and compare its numbers with those that were asked for.

    Args:
        order: Of the scene.
        source: The series that was segmented.
        segmentations: Of the layers, in their order.

    Raises:
        ProductError: When it does not read back as meant.
    """
    groups: list[_Group] = [
        _group(order, source, written=written, segment=segment, measured=measured)
        for layer, written in zip(order.layers, segmentations, strict=True)
        for segment, measured in _told(layer)
    ]
    groups += [_of_class(order, source, total.class_name, total) for total in order.totals]
    groups += [_of_class(order, source, name, None) for name in order.absent]
    uids = source.uids
    facts = [[asdict(layer)["measured"] for layer in order.layers], [*map(asdict, order.totals)], order.absent]
    content = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    observer = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=uids.pseudonyms.uid(f"device {MAKER}"), name=MAKER, manufacturer_name=MAKER, model_name=order.model
    )
    context = hd.sr.ObserverContext(codes.DCM.Device, observer)
    report = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=context),
        procedure_reported=_PROCEDURES.get(order.series.modality, codes.SCT.ImagingProcedure),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    written = hd.sr.Comprehensive3DSR(
        evidence=[*source.images, *segmentations],
        content=report[0],
        series_instance_uid=uids.of(NAME, "series"),
        series_number=source.series_number + len(segmentations),
        sop_instance_uid=uids.of(NAME, order.made, content, *(str(each.SOPInstanceUID) for each in segmentations)),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=order.model,
        software_versions=order.swathe,
        device_serial_number=uids.pseudonyms.key.id,
        series_description=_DESCRIPTION,
        is_complete=True,
    )
    settled(written, source)
    path = Path(order.folder) / f"{NAME}.dcm"
    written.save_as(path, enforce_file_format=True)
    _compare(path, order)


def _told(layer: Layer) -> Iterator[tuple[Segment, Measured]]:
    segments = {segment.number: segment for segment in layer.segments}
    return ((segments[measured.segment], measured) for measured in layer.measured)


def _group(
    order: Order, source: Source, written: Dataset, segment: Segment, measured: Measured
) -> hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations:
    category, kind = terms_of(segment.class_name, order.terms)
    lines = {name: line for name, line in (("long", measured.long), ("short", measured.short)) if line is not None}
    lengths = {name: hd.sr.Measurement(_AXES[name], line.length_mm, _MILLIMETRES) for name, line in lines.items()}
    group = hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracked(source, segment.label),
        referenced_segment=hd.sr.ReferencedSegment(
            str(written.SOPClassUID),
            str(written.SOPInstanceUID),
            segment.number,
            source_series=hd.sr.SourceSeriesForSegmentation(str(source.first.SeriesInstanceUID)),
        ),
        finding_type=coded(kind),
        finding_category=coded(category),
        algorithm_id=hd.sr.AlgorithmIdentification(**algorithm_of(order), manufacturer=MAKER),
        measurements=[hd.sr.Measurement(codes.SCT.Volume, measured.volume_ml, _MILLILITRES), *lengths.values()],
    )
    for name, length in lengths.items():
        _add_ends(length, lines[name], source)
    return group


def _add_ends(length: hd.sr.Measurement, line: Line, source: Source) -> None:
    """Say where a diameter ends. TID 1411 has no row for it, and may be extended; highdicom adds it to others only."""
    ends = hd.sr.CoordinatesForMeasurement3D(
        "POLYLINE", np.array(line.ends_lps_mm, np.float64), source.frame_of_reference_uid, purpose=_PATH
    )
    number = length[0]
    if "ContentSequence" not in number:
        number.ContentSequence = hd.sr.ContentSequence()
    number.ContentSequence.append(ends)


def _of_class(
    order: Order, source: Source, name: str, total: Total | None
) -> hd.sr.MeasurementsAndQualitativeEvaluations:
    """Return the volume of a whole class, or that it was looked for and not found, by TID 1501."""
    category, kind = terms_of(name, order.terms)
    told = (
        {"qualitative_evaluations": [hd.sr.QualitativeEvaluation(_PRESENCE, codes.SCT.Absent)]}
        if total is None
        else {"measurements": [hd.sr.Measurement(codes.SCT.Volume, total.volume_ml, _MILLILITRES)]}
    )
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracked(source, name),
        finding_type=coded(kind),
        finding_category=coded(category),
        algorithm_id=hd.sr.AlgorithmIdentification(**algorithm_of(order), manufacturer=MAKER),
        **told,
    )


def _tracked(source: Source, name: str) -> hd.sr.TrackingIdentifier:
    return hd.sr.TrackingIdentifier(source.uids.tracking(name), name)


def _compare(path: Path, order: Order) -> None:
    """Hold the numbers of the file to those of the order."""
    content: Any = hd.sr.srread(path).content
    lesions, classes = content.get_volumetric_roi_measurement_groups(), content.get_image_measurement_groups()
    found = [[float(item.value) for item in group.get_measurements()] for group in (*lesions, *classes)]
    measured = [list(_numbers(each)) for layer in order.layers for each in layer.measured]
    totals = [[total.volume_ml] for total in order.totals]
    if found != [*measured, *totals, *([] for _ in order.absent)]:
        raise ProductError(f"{path.name} does not read back with the numbers of the table; check the disk")


def _numbers(measured: Measured) -> Iterator[float]:
    yield measured.volume_ml
    yield from (line.length_mm for line in (measured.long, measured.short) if line is not None)
