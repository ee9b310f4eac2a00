"""Results of freed files brought back into the study that they came from, by the crosswalk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, FileDataset, dcmread

from tasks.deidentify.crosswalk import STUDY_WIDE, Crosswalk, OriginalStudy
from tasks.deidentify.dates import shifted_date, shifted_datetime
from tasks.deidentify.reading import quiet
from tasks.errors import ProductError
from tasks.files.durable import replace_file
from tasks.files.pseudonyms import Pseudonyms
from tasks.files.room import writing
from tasks.out.folder import OutFolder
from tasks.products.dicom.order import FOLDER
from tasks.products.dicom.source import NO_DATE, PATIENT, STUDY

_UTF8 = "ISO_IR 192"
# Results say these of themselves, by pseudonym or of the files that were freed.
_OF_FREEING = ("LongitudinalTemporalInformationModified",)
_MOVED = {"DA": shifted_date, "DT": shifted_datetime}


@dataclass(frozen=True, kw_only=True)
class Returned:
    """What became of the results of one scene.

    Attributes:
        scene: Its id.
        patient: Pseudonym; None where nobody knows any more.
        files: Those that were written.
    """

    scene: str
    patient: str | None
    files: tuple[Path, ...] = ()


def return_results(out: OutFolder, to: Path, crosswalk: Crosswalk, pseudonyms: Pseudonyms) -> Iterator[Returned]:
    """Write the newest SEG and SR of every scene with the identifiers of the hospital.

    The same results, crosswalk and key give the same bytes. UIDs of the results are others than those of the ones that
    stay pseudonymous: no two objects have one UID.

    Args:
        out: Where they were published.
        to: Folder for them, a folder in it for each study; it identifies patients.
        crosswalk: Says which study each belongs to.
        pseudonyms: Of the institution; they give the new UIDs.

    Yields:
        What became of each scene with such results, by id.

    Raises:
        ProductError: When a result is damaged, or does not read back as written.
        DiskFullError: When there is no room.
    """
    for folder in sorted(out.root.glob(f"*/{FOLDER}")):
        scene = folder.parent.name
        results = sorted(folder.glob("*.dcm"))
        if not results:
            continue
        headers = [_read(path, only_header=True) for path in results]
        study = crosswalk.study(str(headers[0].StudyInstanceUID))
        if study is None:
            yield Returned(scene=scene, patient=None)
            continue
        own = {str(header[name].value) for header in headers for name in ("SOPInstanceUID", "SeriesInstanceUID")}
        study = replace(study, uids={**study.uids, **{uid: pseudonyms.uid(f"returned {uid}") for uid in own}})
        target = to / str(study.header.StudyInstanceUID)
        with writing("results for the hospital", to):
            target.mkdir(mode=0o700, parents=True, exist_ok=True)
            files = tuple(_returned(path, target / f"{scene}-{path.name}", study) for path in results)
        yield Returned(scene=scene, patient=study.patient, files=files)


def _returned(path: Path, to: Path, study: OriginalStudy) -> Path:
    found = _read(path)
    meta = found.file_meta
    dates = {str(found.get(name, "")) for name in ("SeriesDate", "ContentDate")}
    _put_back(found, study)
    for keyword in (*STUDY_WIDE, *_OF_FREEING):
        if keyword in found:
            del found[keyword]
    for keyword in (*PATIENT, *STUDY):
        setattr(found, keyword, "")
    for element in study.header:
        found.add(element)
    if dates == {NO_DATE} and found.get("StudyDate"):
        # The files that were freed had no date any more.
        found.SeriesDate = found.ContentDate = found.StudyDate
        found.SeriesTime = found.ContentTime = found.get("StudyTime") or found.ContentTime
    meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID
    # As text it was decoded; what a label says, not every character set of a hospital holds.
    found.SpecificCharacterSet = _UTF8
    content = BytesIO()
    with quiet():
        found.save_as(content, enforce_file_format=True)
    replace_file(to, content.getvalue())
    to.chmod(0o600)
    written = _read(to)
    if written != found or written.get("PixelData") != found.get("PixelData"):
        raise ProductError(f"{to.name}: does not read back as it was written; check the disk")
    return to


def _put_back(dataset: Dataset, study: OriginalStudy) -> None:
    """Put UIDs and dates back at every depth; those that stand for nothing stay."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                _put_back(item, study)
        elif element.VR == "UI":
            uids = element.value if element.VM > 1 else [element.value]
            back = [study.uids.get(str(uid), str(uid)) for uid in uids]
            element.value = back if element.VM > 1 else back[0]
        elif element.VR in _MOVED and element.value and str(element.value) != NO_DATE:
            element.value = _MOVED[element.VR](str(element.value), -study.days) or element.value


def _read(path: Path, *, only_header: bool = False) -> FileDataset:
    with quiet():
        return dcmread(path, stop_before_pixels=only_header)
