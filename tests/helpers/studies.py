"""A hospital's folder: studies of many patients, made from real series, some of them broken in one of five ways."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import UID

SERIES = (
    "dicom-series/torchio-ct/tests/image_data/dicom",
    "dicom-series/oblique-mr/Study3/11_HCropVolume",
    "dicom-series/dcm_qa_nih-Si3/In/20180918Si/mr_0003",
)
# Where the files of a series that are slices lie.
_SLICED = SERIES[:2]


def _leave_out_a_slice(files: list[Path]) -> None:
    files[len(files) // 2].unlink()


def _write_two_contents(files: list[Path]) -> None:
    slice_ = dcmread(files[3])
    slice_.PixelData = bytes(len(slice_.PixelData))
    slice_.save_as(files[3].with_name("again.dcm"))


def _cut_pixels(files: list[Path]) -> None:
    content = files[4].read_bytes()
    files[4].write_bytes(content[: -len(dcmread(files[4]).PixelData) // 2])


def _turn_a_slice(files: list[Path]) -> None:
    slice_ = dcmread(files[5])
    slice_.ImageOrientationPatient = [0, 1, 0, 0, 0, 1]
    slice_.save_as(files[5])


def _take_pixels(files: list[Path]) -> None:
    for path in files:
        slice_ = dcmread(path)
        del slice_.PixelData
        slice_.save_as(path)


# By the code of the verdict that each is to have.
WAYS: dict[str, Callable[[list[Path]], None]] = {
    "missing_slices": _leave_out_a_slice,
    "one_uid_two_contents": _write_two_contents,
    "damaged_pixel_data": _cut_pixels,
    "mixed_orientation": _turn_a_slice,
    "no_pixel_data": _take_pixels,
}


def write_studies(data: Path, folder: Path, count: int, broken: tuple[str, ...]) -> dict[str, str]:
    """Write studies, the last ones broken, and the first two of one patient.

    Args:
        data: Of real series.
        folder: Where to.
        count: How many.
        broken: Codes of verdicts, of one study each.

    Returns:
        StudyInstanceUID of each broken study, with its code.
    """
    codes: dict[str, str] = {}
    for number in range(count):
        place = count - number - 1
        code = broken[place] if place < len(broken) else None
        # Mosaics have one file: nothing of theirs can be left out. The patient with two studies has two alike.
        sources = _SLICED if code else SERIES
        source = data / sources[0 if number < 2 else number % len(sources)]
        patient = max(number, 1)
        files = copy_study(source, folder / f"Doe^Patient{patient:03d}" / f"study-{number}", number, patient)
        if code is not None:
            WAYS[code](files)
            codes[_uid(number)] = code
    return codes


def copy_study(source: Path, folder: Path, number: int, patient: int) -> list[Path]:
    """Write a series once more, as another study."""
    folder.mkdir(parents=True)
    files = []
    for place, path in enumerate(sorted(source.iterdir())):
        slice_ = dcmread(path, force=True)
        _become(slice_, number=number, patient=patient, place=place)
        files.append(folder / f"{place:04d}.dcm")
        slice_.save_as(files[-1])
    return files


def _uid(number: int) -> str:
    return f"1.2.826.0.1.3680043.8.498.99.{number + 1}"


def _become(slice_: Dataset, number: int, patient: int, place: int) -> None:
    uid = _uid(number)
    slice_.PatientID, slice_.PatientName = f"H{patient:06d}", f"Doe^Patient{patient:03d}"
    slice_.StudyInstanceUID, slice_.SeriesInstanceUID = uid, f"{uid}.1"
    slice_.FrameOfReferenceUID = f"{uid}.2"
    slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID = UID(f"{uid}.1.{place + 1}")
    slice_.StudyID, slice_.AccessionNumber = str(number + 1), f"A{number:06d}"
    slice_.StudyDate = slice_.SeriesDate = slice_.AcquisitionDate = slice_.ContentDate = (
        f"2024{number % 12 + 1:02d}{number % 28 + 1:02d}"
    )
