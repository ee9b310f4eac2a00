"""Series of DICOM made for tests, written with pydicom alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    RTStructureSetStorage,
)

CLASSES = {"CT": CTImageStorage, "MR": MRImageStorage, "PT": PositronEmissionTomographyImageStorage}
STUDY, SERIES, FRAME = "2.25.1001", "2.25.2001", "2.25.3001"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def rotated(angles_degrees: tuple[float, float, float], flips: tuple[bool, bool] = (False, False)) -> tuple[float, ...]:
    """Directions of rows and columns, turned about x, y and z, and perhaps against it."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.radians(angles_degrees)):
        i, j = [k for k in range(3) if k != axis]
        one = np.eye(3)
        one[i, i], one[i, j], one[j, i], one[j, j] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        turn = turn @ one
    row, col = turn[:, 0] * (-1 if flips[0] else 1), turn[:, 1] * (-1 if flips[1] else 1)
    return tuple(float(value) for value in (*row, *col))


def write_slice(
    path: Path,
    pixels: np.ndarray,
    position: tuple[float, float, float],
    *,
    orientation: tuple[float, ...] = AXIAL,
    spacing: tuple[float, float] = (1.0, 1.0),
    modality: str = "CT",
    syntax: UID = ExplicitVRLittleEndian,
    change: Callable[[Dataset], None] | None = None,
    **elements: object,
) -> Path:
    """Write one slice; ``change`` has the last word on its elements, which ``elements`` replace before."""
    data = Dataset()
    data.SOPClassUID = CLASSES.get(modality, CTImageStorage)
    data.SOPInstanceUID = f"2.25.{abs(hash((str(path), position))) % 10**18}"
    data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = STUDY, SERIES, FRAME
    data.Modality, data.PatientName, data.PatientID = modality, "Doe^Planted", "PLANTED-77"
    data.StudyDate, data.StudyTime, data.AccessionNumber = "20240102", "101112", "PLANTED-ACC"
    data.ReferringPhysicianName, data.PatientBirthDate, data.PatientSex, data.StudyID = (
        "Ref^Planted",
        "19500101",
        "O",
        "1",
    )
    data.SeriesNumber, data.InstanceNumber = 1, 1
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.ImagePositionPatient = [round(float(value), 6) for value in position]
    data.ImageOrientationPatient = [round(float(value), 9) for value in orientation]
    data.PixelSpacing = list(spacing)
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8 * pixels.dtype.itemsize
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    if modality == "CT":
        data.RescaleIntercept, data.RescaleSlope = "0", "1"
    for name, value in elements.items():
        setattr(data, name, value)
    order = ">" if syntax == "1.2.840.10008.1.2.2" else "<"
    data.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    if len(data.PixelData) % 2:
        data.PixelData += b"\0"
    data["PixelData"].VR = "OW" if pixels.dtype.itemsize > 1 else "OB"
    if change is not None:
        change(data)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.get("SOPClassUID", "")
    data.file_meta.MediaStorageSOPInstanceUID = data.get("SOPInstanceUID", "")
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def write_series(
    folder: Path,
    volume: np.ndarray,
    *,
    orientation: tuple[float, ...] = AXIAL,
    origin: tuple[float, float, float] = (-10.0, -20.0, 30.0),
    gap: float = 2.5,
    names: Callable[[int], str] = "{:03d}.dcm".format,
    each: Callable[[int, Dataset], None] | None = None,
    offsets: dict[int, float] | None = None,
    without: tuple[int, ...] = (),
    **options: object,
) -> list[Path]:
    """Write ``volume`` (slices, rows, cols) along the normal; ``offsets`` move slices along it, in mm."""
    normal = np.cross(orientation[:3], orientation[3:])
    paths = []
    for k, pixels in enumerate(volume):
        if k in without:
            continue
        position = np.array(origin) + normal * (gap * k + (offsets or {}).get(k, 0.0))
        change = None if each is None else (lambda data, k=k: each(k, data))
        elements = {"InstanceNumber": k + 1, **options}
        paths.append(
            write_slice(folder / names(k), pixels, tuple(position), orientation=orientation, change=change, **elements)
        )
    return paths


def ramp(*shape: int, dtype: str = "int16") -> np.ndarray:
    """Values of which no two neighbours, rows, columns or slices are alike."""
    return (np.arange(np.prod(shape)).reshape(shape) * 7 % 2003 - (1000 if dtype.startswith("int") else 0)).astype(
        dtype
    )


def write_structures(
    path: Path, series, contours: dict[str, list[tuple[int, np.ndarray]]], kind="CLOSED_PLANAR"
) -> Path:
    """Write an RTSTRUCT whose contours are given as slice, and rows and columns."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = RTStructureSetStorage, "2.25.77", "RTSTRUCT"
    data.StudyInstanceUID, data.SeriesInstanceUID = series.study_uid, "2.25.78"
    data.StructureSetROISequence, data.ROIContourSequence = [], []
    for number, (name, drawn) in enumerate(contours.items(), 1):
        roi, rings = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, rings.ReferencedROINumber = number, name, number
        rings.ContourSequence = []
        for index, points in drawn:
            item = Dataset()
            places = np.column_stack([np.full(len(points), index), points, np.ones(len(points))])
            millimetres = (series.affine_lps_mm @ places.T)[:3].T
            item.ContourGeometricType = kind
            item.NumberOfContourPoints = len(points)
            item.ContourData = [f"{value:.8g}" for value in millimetres.ravel()]
            rings.ContourSequence.append(item)
        data.StructureSetROISequence.append(roi)
        data.ROIContourSequence.append(rings)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = RTStructureSetStorage, "2.25.77"
    data.save_as(path, enforce_file_format=True)
    return path
