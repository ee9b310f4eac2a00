"""Jobs for series of DICOM."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tasks.dicom.choose import choose
from tasks.dicom.picture import pictures_in
from tasks.dicom.reader import Reader
from tasks.dicom.scan import Scan, scan
from tasks.dicom.series import Found
from tasks.drafts.draft import Draft, Place
from tasks.errors import UnsupportedSceneError
from tasks.jobs.source import DicomRule

_MOST_LINES = 12


def draft_dicom(named: Path, name: str) -> Draft:
    """Write a job for the series that a file, a folder or a DICOMDIR leads to.

    Of several modalities the one with the most slices is taken; others are named, so that they can be.

    Args:
        named: What the user named.
        name: Of the job; what a folder of scans is called may tell a patient.

    Raises:
        UnsupportedSceneError: When nothing there can be segmented.
    """
    with Reader() as reader:
        found = scan(named, reader)
    volumes = [choice.found for choice in choose(found.found, DicomRule()) if choice.left_out is None]
    usable = [one for one in volumes if one.series is not None]
    if not usable:
        return _pictures(found, named, name)
    slices: Counter[str] = Counter()
    for one in usable:
        slices[one.modality] += one.n_slices
    modality = slices.most_common(1)[0][0]
    rule = {"modality": modality} | ({"take": "thinnest"} if _are_reconstructions(usable, modality) else {})
    taken = {
        id(choice.found) for choice in choose(found.found, DicomRule.model_validate(rule)) if choice.left_out is None
    }
    told = [f"Looked at: {len(usable)} volume(s) of DICOM", *_lines(usable, taken)]
    if len(found.found) > len(usable):
        told.append(f"and {len(found.found) - len(usable)} series that are no volume: swathe check says why of each")
    return Draft(
        name=name,
        kind="volume",
        about=tuple(told),
        dicom=rule,
        model={"name": "otsu"},
        model_remark="Otsu's threshold, found in each volume: bright is class 1. Others: swathe models",
    )


def _are_reconstructions(usable: list[Found], modality: str) -> bool:
    """Tell whether several series are one CT scan, made thick and thin: of MR each shows something else."""
    of_series = {one.series_uid: one.study_uid for one in usable if one.modality == modality}
    return modality == "CT" and len(of_series) > 1 and len(set(of_series.values())) == 1


def _lines(usable: list[Found], taken: set[int]) -> list[str]:
    lines = []
    for one in usable[:_MOST_LINES]:
        spacing = "" if one.series is None else f", every {one.series.spacing_mm[0]:.3g} mm"
        told = "" if id(one) in taken else "; not taken by the job"
        lines.append(f"  {one.modality} {one.plane or ''}, {one.n_slices} slices{spacing}{told}")
    if len(usable) > _MOST_LINES:
        lines.append(f"  and {len(usable) - _MOST_LINES} more")
    return lines


def _pictures(found: Scan, named: Path, name: str) -> Draft:
    """Write a job for single pictures, where there are no volumes."""
    pictures = [one for one in pictures_in(found.instances, DicomRule()) if not (one.left_out or one.refusal)]
    if not pictures:
        reasons = Counter(one.refusal.code for one in found.found if one.refusal is not None)
        told = ", ".join(f"{count} {code}" for code, count in sorted(reasons.items())) or f"{len(found.unread)} unread"
        raise UnsupportedSceneError(
            f"{named}: no volume and no picture that can be segmented: {told}. swathe check says more of each"
        )
    modality = Counter(one.instance.modality for one in pictures).most_common(1)[0][0]
    return Draft(
        name=name,
        kind="raster",
        about=(f"Looked at: {len(pictures)} single picture(s) of DICOM, most of them {modality}",),
        bands={"value": Place(1)},
        dicom={"modality": modality},
        model={"name": "otsu"},
        model_remark="Otsu's threshold, found in each picture: bright is class 1. Others: swathe models",
    )
