"""The largest lesion on one slice with its diameters, as a Secondary Capture: viewers show it that know no SEG."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any, cast

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from scipy.ndimage import binary_erosion

from tasks.dicom.pixels import decoded
from tasks.dicom.series import Series
from tasks.errors import ProductError
from tasks.products.dicom.order import Layer, Line, Measured, Order
from tasks.products.dicom.segmentation import MAKER, settled
from tasks.products.dicom.source import Source

NAME = "capture"
_DESCRIPTION = "Largest lesion, not verified"
# A lesion of a few pixels is to be seen: pixels are repeated until the shorter side has so many.
_FEWEST_PIXELS = 512
_SOFT_TISSUE_HU = (-160.0, 240.0)
_PERCENTILES = (1.0, 99.0)
_LONG, _SHORT = (255, 215, 0), (0, 200, 255)
_ONE_SLICE = 0.25
_LETTERS = (("R", "L"), ("A", "P"), ("F", "H"))


def write_capture(order: Order, layer: Layer, source: Source, number: int) -> None:
    """Write ``capture.dcm``, read it back and compare it.

    The slice is the one in which the lesion's longest diameter lies, so that both lines are seen as they were measured;
    where that lies in no single slice, the one with most of the lesion, without lines.

    Args:
        order: Of the scene.
        layer: The lesions, the largest first.
        source: The series that was segmented.
        number: Of the series among the results.

    Raises:
        ProductError: When it does not read back as drawn.
        SeriesError: When the slice cannot be decoded any more.
    """
    series, lesion = order.series, layer.measured[0]
    mask = series.slices_of(np.asarray(np.load(layer.labels, mmap_mode="r"))) == lesion.segment
    lines = {_LONG: lesion.long, _SHORT: lesion.short}
    at = _slice_of(series, lesion)
    if at is None:
        at, lines = int(mask.sum(axis=(1, 2)).argmax()), {}
    colour = next(segment.colour for segment in layer.segments if segment.number == lesion.segment)
    picture, factor = _drawn(series, at=at, mask=mask[at], colour=colour, lines=lines)
    written = _made(order, source, picture=picture, factor=factor, number=number)
    written.SourceImageSequence = [_source_image(source, series, at)]
    written.ImageComments = _told(lesion)
    path = Path(order.folder) / f"{NAME}.dcm"
    written.save_as(path, enforce_file_format=True)
    if not np.array_equal(dcmread(path).pixel_array, picture):
        raise ProductError(f"{path.name} does not read back as it was drawn; check the disk")


def _slice_of(series: Series, lesion: Measured) -> int | None:
    """Return the number of the slice in which both ends of the longest diameter lie; None where there is none."""
    if lesion.long is None:
        return None
    ends = _voxels(series, lesion.long)[:, 0]
    at = int(np.rint(ends.mean()))
    return at if float(np.abs(ends - at).max()) <= _ONE_SLICE and 0 <= at < len(series.slices) else None


def _voxels(series: Series, line: Line) -> NDArray[np.float64]:
    """Return both ends of a line in slices, rows and columns, ``(2, 3)``."""
    affine = series.affine_lps_mm
    ends = np.array(line.ends_lps_mm, np.float64)
    return np.asarray(np.linalg.solve(affine[:3, :3], (ends - affine[:3, 3]).T).T, np.float64)


def _drawn(
    series: Series,
    at: int,
    mask: NDArray[np.bool_],
    colour: str,
    lines: dict[tuple[int, int, int], Line | None],
) -> tuple[NDArray[np.uint8], int]:
    """Return a slice with outline and diameters, ``(rows, cols, 3)``, and how often each of its pixels is repeated."""
    plane = series.slices[at]
    (stored,) = decoded([plane], series.shape[1:], series.modality)
    grey = _windowed(stored * plane.slope + plane.intercept, series.modality)
    factor = max(1, math.ceil(_FEWEST_PIXELS / min(grey.shape)))
    large, inside = (np.kron(array, np.ones((factor, factor), array.dtype)) for array in (grey, mask.astype(np.uint8)))
    picture = np.repeat(large[..., np.newaxis], 3, axis=2)
    outline = (inside > 0) & ~binary_erosion(inside > 0)
    picture[outline] = [int(colour[begin : begin + 2], 16) for begin in (1, 3, 5)]
    for shade, line in lines.items():
        if line is not None:
            # Centres of pixels: the first one of an enlarged pixel lies half of it before its centre.
            (row, col), (to_row, to_col) = (_voxels(series, line)[:, 1:] + 0.5) * factor - 0.5
            steps = max(2, 2 * math.ceil(max(abs(to_row - row), abs(to_col - col))))
            rows, cols = (np.rint(np.linspace(*ends, steps)).astype(int) for ends in ((row, to_row), (col, to_col)))
            inside_picture = (rows >= 0) & (cols >= 0) & (rows < picture.shape[0]) & (cols < picture.shape[1])
            picture[rows[inside_picture], cols[inside_picture]] = shade
    return picture, factor


def _windowed(values: NDArray[Any], modality: str) -> NDArray[np.uint8]:
    known = values[np.isfinite(values)]
    low, high = _SOFT_TISSUE_HU if modality == "CT" else np.percentile(known, _PERCENTILES) if known.size else (0, 1)
    scaled = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) / max(float(high - low), 1e-12)
    return np.asarray(np.rint(255 * np.clip(scaled, 0, 1)), np.uint8)


def _made(order: Order, source: Source, picture: NDArray[np.uint8], factor: int, number: int) -> Dataset:
    series, uids = order.series, source.uids
    content = hashlib.sha256(picture.tobytes()).hexdigest()
    # Of lengths that are no whole numbers, whatever highdicom's types say.
    spacing_mm: Any = tuple(round(side / factor, 6) for side in series.pixel_spacing_mm)
    written: Any = hd.sc.SCImage.from_ref_dataset(
        source.first,
        pixel_array=picture,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        series_instance_uid=uids.of(NAME, "series"),
        series_number=source.series_number + number,
        sop_instance_uid=uids.of(NAME, order.made, content),
        instance_number=1,
        manufacturer=MAKER,
        pixel_spacing=spacing_mm,
        patient_orientation=(_letter(series.orientation[:3]), _letter(series.orientation[3:])),
        transfer_syntax_uid="1.2.840.10008.1.2.1",
    )
    settled(written, source)
    written.Modality = "OT"
    written.SeriesDescription = _DESCRIPTION
    written.BurnedInAnnotation = "NO"
    # Wanted to be there, be it empty: of a paired organ nobody said which it is.
    written.Laterality = ""
    written.DateOfSecondaryCapture, written.TimeOfSecondaryCapture = source.date, source.time
    written.ManufacturerModelName, written.SoftwareVersions = order.model[:64], order.swathe
    return cast("Dataset", written)


def _letter(direction: tuple[float, ...]) -> str:
    """Return where a direction points to, for the edge of a picture: left, posterior or head, or away from them."""
    axis = int(np.argmax(np.abs(direction)))
    return _LETTERS[axis][direction[axis] > 0]


def _source_image(source: Source, series: Series, at: int) -> Dataset:
    plane = series.slices[at]
    header = source.images[series.paths.index(plane.path)]
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    if "NumberOfFrames" in header:
        item.ReferencedFrameNumber = plane.frame + 1
    return item


def _told(lesion: Measured) -> str:
    lengths = {"long": lesion.long, "short": lesion.short}
    lines = [f"{name} axis {line.length_mm:g} mm" for name, line in lengths.items() if line is not None]
    return ", ".join([f"lesion {lesion.segment}: {lesion.volume_ml:g} ml", *lines])
