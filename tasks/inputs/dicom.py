"""From DICOM files, folders and DICOMDIRs to the scenes of a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tasks.dicom.choose import Choice, choose
from tasks.dicom.findings import Finding
from tasks.dicom.instance import Instance
from tasks.dicom.naming import file_id, picture_id, scene_id
from tasks.dicom.picture import Picture, pictures_in
from tasks.dicom.reader import Reader
from tasks.dicom.scan import Unread, scan
from tasks.dicom.series import Found
from tasks.inputs.input import Input
from tasks.inputs.people import People
from tasks.jobs.source import DicomRule


def dicom_volumes(named: Path, rule: DicomRule, people: People | None) -> list[Input]:
    """Return the volumes that a path leads to, those that a job leaves out among them.

    Args:
        named: A file, a folder or a DICOMDIR.
        rule: Which of them the job takes.
        people: Says whom they show; None where nobody asks.
    """
    with Reader() as reader:
        found = scan(named, reader)
    items = [_shown(_volume(choice), choice.found, people) for choice in choose(found.found, rule)]
    return [*items, *map(_unread, found.unread)]


def dicom_pictures(named: Path, rule: DicomRule, people: People | None) -> list[Input]:
    """Return the single pictures that a path leads to, those that a job leaves out among them; arguments as above."""
    with Reader() as reader:
        found = scan(named, reader)
    items = [_shown(_picture(each), each.instance, people) for each in pictures_in(found.instances, rule)]
    return [*items, *map(_unread, found.unread)]


def left_out(items: Sequence[Input]) -> str | None:
    """Say why none of some scenes is taken; None where one is, or there is none at all."""
    if not items or not all(item.left_out for item in items):
        return None
    reasons = Counter(str(item.error).partition(":")[0] for item in items)
    counts = ", ".join(f"{count} {code}" for code, count in sorted(reasons.items()))
    return f"none of {len(items)} series is taken: {counts}. Run swathe check on it with the job"


def _shown(item: Input, found: Found | Instance, people: People | None) -> Input:
    if people is None:
        return item
    whom = people.whom(found, next(iter(item.files.values())))
    return replace(item, site=whom.patient, study=whom.study, date=whom.date)


def _volume(choice: Choice) -> Input:
    found = choice.found
    files = {f"{number:05d}": path for number, path in enumerate(found.paths)}
    item = Input(id=scene_id(found), files=files)
    if choice.left_out is not None:
        return replace(item, error=_told(choice.left_out), left_out=True)
    if choice.refusal is not None or found.series is None:
        return replace(item, error=_told(choice.refusal))
    # In the order in which slices lie, whatever their names.
    ordered = {f"{number:05d}": path for number, path in enumerate(found.series.paths)}
    return replace(item, files=ordered, series=found.series.key)


def _picture(picture: Picture) -> Input:
    item = Input(id=picture_id(picture.instance), files={"file": picture.instance.path})
    if picture.left_out is not None:
        return replace(item, error=str(picture.left_out), left_out=True)
    if picture.refusal is not None:
        return replace(item, error=str(picture.refusal))
    return replace(item, series=picture.key)


def _told(finding: Finding | None) -> str:
    return "" if finding is None else str(finding)


def _unread(unread: Unread) -> Input:
    item = Input(id=file_id(unread.path), files={"file": unread.path})
    return replace(item, error=item.pseudonymised(f"{type(unread.error).__name__}: {unread.error}"))
