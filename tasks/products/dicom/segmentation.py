"""A class map as a DICOM segmentation, written and read back."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import highdicom as hd
import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from tasks.dicom.labels import Target, read_labels
from tasks.dicom.series import Series
from tasks.errors import ProductError
from tasks.products.dicom.codes import terms_of
from tasks.products.dicom.order import CodedTerm, Layer, Order, Segment
from tasks.products.dicom.source import CARRIED, Source

MAKER = "swathe"
_MOST_BITS = 1 << 29
_LONGEST_LABEL = 64
_LONGEST_TEXT = 64


def write_segmentation(order: Order, layer: Layer, source: Source, number: int) -> Dataset:
    """Write a layer as ``NAME.dcm``, read it back and compare it with the map.

    Args:
        order: Of the scene.
        layer: The map, and what its numbers mean.
        source: The series that was segmented.
        number: Of the series among the results.

    Returns:
        What was written.

    Raises:
        ProductError: When it does not read back as the map.
    """
    series = order.series
    labels = np.array(series.slices_of(_labels(layer.labels)), order="C")
    # What was not observed is no segment.
    labels[labels > layer.segments[-1].number] = 0
    written = _made(order, layer, source=source, labels=labels, number=number)
    path = Path(order.folder) / f"{layer.name}.dcm"
    written.save_as(path, enforce_file_format=True)
    _compare(path, series, labels)
    return written


def algorithm_of(order: Order) -> dict[str, Any]:
    """Return name, version and family of what segmented, as SEG and SR state them."""
    return {
        "name": order.model[:_LONGEST_TEXT],
        "version": order.version[:_LONGEST_TEXT],
        "family": codes.DCM.ArtificialIntelligence,
    }


def coded(term: CodedTerm) -> hd.sr.CodedConcept:
    """Return a term as highdicom has it."""
    return hd.sr.CodedConcept(term.value, term.scheme, term.meaning)


def settled(written: Dataset, source: Source) -> None:
    """Replace what highdicom takes from the clock and from chance."""
    for name in ("InstanceCreationDate", "InstanceCreationTime"):
        written.pop(name, None)
    written.ContributingEquipmentSequence = _equipment(written, source)
    written.ContentDate = written.SeriesDate = source.date
    written.ContentTime = written.SeriesTime = source.time
    written.SpecificCharacterSet = source.character_set
    for name in CARRIED:
        if name in source.first:
            written.add(source.first[name])


def _equipment(written: Dataset, source: Source) -> list[Dataset]:
    """Return the scanner, as far as the source tells, and the library that wrote, which highdicom puts last."""
    library = written.ContributingEquipmentSequence[-1]
    library.pop("ContributionDateTime", None)
    if "Manufacturer" not in source.made_by:
        return [library]
    scanner = hd.ContributingEquipment(
        source.made_by["Manufacturer"][:_LONGEST_TEXT],
        codes.DCM.AcquisitionEquipment,
        manufacturer_model_name=source.made_by.get("ManufacturerModelName"),
        software_versions=source.made_by.get("SoftwareVersions"),
    )
    return [scanner, library]


def _labels(path: str) -> NDArray[Any]:
    """Return the map ``(cols, rows, slices)``."""
    if path.endswith(".npy"):
        return np.asarray(np.load(path, mmap_mode="r"))
    return np.asarray(nib.Nifti1Image.from_filename(path).dataobj)


def _made(order: Order, layer: Layer, source: Source, labels: NDArray[Any], number: int) -> Dataset:
    series, is_binary = order.series, layer.kind == "binary"
    uids, content = source.uids, hashlib.sha256(labels.data).hexdigest()
    # One bit for each voxel and segment: frames of nothing are left out where there would be too many of them.
    is_whole = layer.is_whole and not (is_binary and labels.size * len(layer.segments) > _MOST_BITS)
    images = source.images
    is_multiframe = "NumberOfFrames" in source.first
    written = hd.seg.Segmentation(
        source_images=images[:1] if is_multiframe else images,
        further_source_images=images[1:] or None if is_multiframe else None,
        segmentation_type=layer.kind.upper(),
        segment_descriptions=[_segment(order, segment, source) for segment in layer.segments],
        series_instance_uid=uids.of(layer.name, "series", layer.kind),
        series_number=source.series_number + number,
        sop_instance_uid=uids.of(layer.name, order.made, layer.kind, content),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=order.model[:_LONGEST_TEXT],
        software_versions=order.swathe,
        device_serial_number=source.uids.pseudonyms.key.id,
        content_label=layer.name.upper(),
        content_description=layer.description,
        series_description=layer.description,
        transfer_syntax_uid=ExplicitVRLittleEndian if is_binary else RLELossless,
        omit_empty_frames=not is_whole and bool(labels.any()),
        **_placed(series, source, labels),
    )
    organisation = uids.of(layer.name, "dimensions")
    for name in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in written.get(name, []):
            item.DimensionOrganizationUID = organisation
    settled(written, source)
    return written


def _segment(order: Order, segment: Segment, source: Source) -> hd.seg.SegmentDescription:
    category, kind = terms_of(segment.class_name, order.terms)
    red, green, blue = (int(segment.colour[at : at + 2], 16) for at in (1, 3, 5))
    return hd.seg.SegmentDescription(
        segment_number=segment.number,
        segment_label=segment.label[:_LONGEST_LABEL],
        segmented_property_category=coded(category),
        segmented_property_type=coded(kind),
        algorithm_type="AUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(**algorithm_of(order), source=MAKER),
        tracking_uid=source.uids.tracking(segment.label),
        tracking_id=segment.label,
        display_color=hd.color.CIELabColor.from_rgb(red, green, blue),
    )


def _placed(series: Series, source: Source, labels: NDArray[Any]) -> dict[str, Any]:
    """Return the map with its place in the patient."""
    affine = series.affine_lps_mm
    if not series.is_tilted:
        return {"pixel_array": hd.Volume(labels, affine, "PATIENT", source.frame_of_reference_uid)}
    # Of a tilted gantry: highdicom's volumes have right angles only, planes may lie anywhere.
    origins = affine[:3, 3] + np.arange(len(labels))[:, np.newaxis] * affine[:3, 0]
    return {
        "pixel_array": labels,
        "plane_positions": [hd.PlanePositionSequence("PATIENT", tuple(origin)) for origin in origins.tolist()],
        "plane_orientation": hd.PlaneOrientationSequence("PATIENT", series.orientation),
        "pixel_measures": hd.PixelMeasuresSequence(series.pixel_spacing_mm, float(source.first.SliceThickness)),
    }


def _compare(path: Path, series: Series, labels: NDArray[Any]) -> None:
    slices, rows, cols = series.shape
    found = read_labels(dcmread(path), Target((cols, rows, slices), series.affine_mm))
    if not np.array_equal(series.slices_of(found), labels):
        raise ProductError(f"{path.name} does not read back as the mask; check the disk")
