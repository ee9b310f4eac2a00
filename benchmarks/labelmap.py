"""A LABELMAP SEG of many classes, written and read back as after a scene: seconds, and the largest process."""

from __future__ import annotations

import resource
import time
from importlib.metadata import version
from pathlib import Path

import nibabel as nib
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from benchmarks.machine import ForeignLoad
from tasks.dicom.reader import Reader
from tasks.dicom.scan import scan
from tasks.dicom.series import Series
from tasks.products.dicom.order import Layer, Order, Segment
from tasks.products.dicom.results import ask

_SHAPE = (400, 512, 512)
_CLASSES = 104
_KEY = bytes(range(32)).hex()


def run(folder: Path) -> None:
    """Print seconds and memory of the process that writes a SEG of 104 classes on 512 x 512 x 400."""
    series = _series(folder / "series")
    mask = folder / "mask.nii.gz"
    nib.save(nib.Nifti1Image(series.array_of(_map()), series.affine_mm), mask)
    out = folder / "out"
    out.mkdir()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    before_s = used.ru_utime + used.ru_stime
    foreign, began = ForeignLoad(), time.perf_counter()
    ask(_order(series, mask, out))
    seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s, peak_mib = used.ru_utime + used.ru_stime - before_s, used.ru_maxrss / 1024
    size_mb = (out / "segmentation.dcm").stat().st_size / 1e6
    print(
        f"{_CLASSES} classes on {_SHAPE[2]} x {_SHAPE[1]} x {_SHAPE[0]}: {seconds:.1f} s ({cpu_s:.1f} s of one core), "
        f"{peak_mib:.0f} MiB, file of {size_mb:.0f} MB (others used {foreign.cores():.2f} cores)",
        flush=True,
    )


def _map() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Balls of all classes on a lattice, as organs lie in a body: long runs of one value, and ragged edges."""
    slices, rows, cols = _SHAPE
    labels = np.zeros(_SHAPE, np.uint8)
    row, col = np.ogrid[:rows, :cols]
    for number in range(1, _CLASSES + 1):
        rng = np.random.default_rng(number)
        middle, radius = rng.uniform((20, 80, 80), (slices - 20, rows - 80, cols - 80)), rng.uniform(15, 60)
        for k in range(max(0, int(middle[0] - radius)), min(slices, int(middle[0] + radius) + 1)):
            across = radius**2 - (k - middle[0]) ** 2
            labels[k][(row - middle[1]) ** 2 + (col - middle[2]) ** 2 < across] = number
    return labels


def _series(folder: Path) -> Series:
    folder.mkdir()
    rng = np.random.default_rng(0)
    pixels = rng.integers(-1000, 1000, _SHAPE[1:], np.int16)
    for k in range(_SHAPE[0]):
        _slice(pixels, k).save_as(folder / f"{k:04d}.dcm", enforce_file_format=True)
    with Reader() as reader:
        return next(found.series for found in scan(folder, reader).found if found.series is not None)


def _slice(pixels: np.ndarray[tuple[int, ...], np.dtype[np.int16]], number: int) -> Dataset:
    header = Dataset()
    header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, f"2.25.1{number:04d}"
    header.StudyInstanceUID, header.SeriesInstanceUID, header.FrameOfReferenceUID = "2.25.2", "2.25.3", "2.25.4"
    header.Modality, header.PatientName, header.PatientID, header.StudyID = "CT", "A^B", "1", "1"
    header.StudyDate, header.StudyTime, header.AccessionNumber = "20240101", "120000", "1"
    header.PatientBirthDate = header.PatientSex = header.ReferringPhysicianName = ""
    header.SeriesNumber, header.InstanceNumber, header.ImageType = 1, number + 1, ["ORIGINAL", "PRIMARY", "AXIAL"]
    header.ImagePositionPatient, header.ImageOrientationPatient = [0, 0, 1.5 * number], [1, 0, 0, 0, 1, 0]
    header.PixelSpacing, header.SliceThickness = [0.8, 0.8], 1.5
    header.Rows, header.Columns, header.SamplesPerPixel = *pixels.shape, 1
    header.PhotometricInterpretation, header.PixelRepresentation = "MONOCHROME2", 1
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 16, 15
    header.RescaleSlope, header.RescaleIntercept = 1, 0
    header.PixelData = pixels.tobytes()
    header["PixelData"].VR = "OW"
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    return header


def _order(series: Series, mask: Path, out: Path) -> Order:
    segments = tuple(
        Segment(number=number, label=f"class {number}", class_name=f"class {number}", colour=f"#{number * 2:02x}80c0")
        for number in range(1, _CLASSES + 1)
    )
    layer = Layer(
        name="segmentation",
        kind="labelmap",
        description="Segmentation by swathe",
        labels=str(mask),
        segments=segments,
    )
    return Order(
        scene="ct-1",
        series=series,
        layers=(layer,),
        totals=(),
        report=False,
        capture=False,
        absent=(),
        whose="pseudonym",
        key=_KEY,
        made="0123456789abcdef",
        model="benchmark",
        version="1",
        swathe=version("swathe"),
        terms={},
        folder=str(out),
    )
