"""Lesions of a volume mask, and of several dates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.analysis.masks.names import absent_class
from tasks.analysis.subject import Findings, VolumeMask
from tasks.analysis.tumour.answers import follow_up_answers, lesion_answers
from tasks.analysis.tumour.lesion_files import write_followup_csv, write_lesions_csv
from tasks.analysis.tumour.picture import lesion_pictures, tumour_preview
from tasks.analysis.tumour.report import follow_up_sections, lesion_sections
from tasks.analysis.volumes import measure_classes, volume_headline, volume_section, volume_table
from tasks.answers.rounding import rounded
from tasks.answers.tumour.components import Components, find_components, total_ml
from tasks.answers.tumour.measure import Sources, measure
from tasks.answers.tumour.series import FollowUp, History, Study, begin, follow, study
from tasks.answers.tumour.values import ReadImage
from tasks.errors import JobError
from tasks.geometry.box import Box
from tasks.jobs.tumour import TumourAnalysis
from tasks.reports.blocks import Section


def analyse_tumour(subject: VolumeMask, settings: TumourAnalysis, folder: Path) -> Findings:
    """Measure every connected component, and write ``lesions.csv`` and ``preview.png``.

    Args:
        subject: The mask.
        settings: Of the job.
        folder: The product, not yet published.

    Raises:
        JobError: When the mask's classes do not hold ``settings.label``.
    """
    return present(subject, read_study(subject, settings), follow_up=None, settings=settings, folder=folder)


def read_study(subject: VolumeMask, settings: TumourAnalysis) -> Study:
    """Measure the lesions of one date.

    Raises:
        JobError: When the mask's classes do not hold ``settings.label``.
    """
    if settings.label >= len(subject.classes):
        raise JobError(
            f"{subject.id}: analysis.label is {settings.label}, and the classes are "
            f"{', '.join(f'{number} {name}' for number, name in enumerate(subject.names))}; name one of those"
        )
    scene, shape = subject.scene, subject.scene.frame.native_shape
    components, others = _components(subject, settings)
    axial = next(axis for axis, code in enumerate(scene.codes) if code in "SI")
    image = _image_reader(subject) if subject.has_image else None
    measured = measure(components, Sources(shape, axial, image, subject.confidence), settings)
    found = study(
        subject.id,
        shape,
        components=components,
        measured=measured,
        slice_mm=scene.distance_mm(axial),
        settings=settings,
    )
    return replace(found, other_classes=others)


def _components(subject: VolumeMask, settings: TumourAnalysis) -> tuple[Components, tuple[int, ...]]:
    """Return the lesions, and where there is none the other classes that the mask holds."""
    # One byte per voxel, gone before lesions are measured; a slab at a time would split them.
    mask = subject.read(Box.of_shape(subject.scene.frame.native_shape))
    components = find_components(mask, subject.scene.affine_mm, settings.label, settings.connectivity)
    if components.lesions:
        return components, ()
    held = {int(value) for plane in mask for value in np.unique(plane)} - {0, int(np.iinfo(mask.dtype).max)}
    return components, tuple(sorted(held))


def advance(history: History | None, current: Study, settings: TumourAnalysis) -> tuple[FollowUp | None, History]:
    """Add a date to a patient's history; the first one has nothing to be compared with."""
    kept = Study(
        id=current.id,
        shape=current.shape,
        components=current.components.packed(),
        measured=current.measured,
        targets=current.targets,
        products=current.products,
    )
    return (None, begin(kept, settings)) if history is None else follow(history, kept, settings)


def present(
    subject: VolumeMask, found: Study, follow_up: FollowUp | None, settings: TumourAnalysis, folder: Path
) -> Findings:
    """Write ``lesions.csv``, ``followup.csv`` and ``preview.png``, and say what was found.

    Args:
        subject: The mask.
        found: Its lesions.
        follow_up: How they changed; None where there is no earlier date.
        settings: Of the job.
        folder: The product, not yet published.
    """
    names, measured = subject.names, found.measured
    write_lesions_csv(measured, names, found.targets.lesions, folder / "lesions.csv")
    preview = tumour_preview(subject, measured, settings)
    (folder / "preview.png").write_bytes(preview)
    sections: list[Section] = [Section("At a glance", lesion_pictures(subject, measured, settings, preview))]
    sections += lesion_sections(found, names, settings.connectivity, is_baseline=follow_up is None)
    answers = lesion_answers(found, names, settings.connectivity)
    if follow_up is not None:
        write_followup_csv([follow_up], folder / "followup.csv")
        sections += follow_up_sections(follow_up)
        answers |= follow_up_answers(follow_up)
    volumes = measure_classes(subject)
    sections.append(volume_section(names, volumes))
    return Findings(
        _headline(found, follow_up, names[settings.label]) | volume_headline(names, volumes),
        answers | {"classes": volume_table(names, volumes)},
        tuple(sections),
        (*absent_class(names, settings.label, found.other_classes), *_warnings(found, follow_up)),
    )


def _headline(found: Study, follow_up: FollowUp | None, name: str) -> dict[str, Any]:
    lesions = found.components.lesions
    headline: dict[str, Any] = {
        f"{name.replace(' ', '_')}_ml": rounded(total_ml(lesions), 4),
        "lesions": len(lesions),
    }
    if lesions:
        headline["largest_ml"] = rounded(lesions[0].volume_ml, 4)
    lengths = [item.long.length_mm for item in found.measured if item.long is not None]
    if lengths:
        headline["longest_axial_mm"] = rounded(max(lengths), 2)
    if follow_up is None and found.targets.sum_mm is not None:
        headline["recist_sum_mm"] = rounded(found.targets.sum_mm, 2)
    if follow_up is not None:
        if follow_up.recist.current is not None:
            headline["recist_sum_mm"] = rounded(follow_up.recist.current, 2)
        headline["recist_proposed"] = follow_up.recist.category or "none"
        headline["rano_proposed"] = follow_up.rano.category or "none"
    return headline


def _warnings(found: Study, follow_up: FollowUp | None) -> tuple[str, ...]:
    warnings = []
    cut = [lesion.id for lesion in found.components.lesions if lesion.touches_border]
    if cut:
        where = "the edge of the volume, or what was not observed,"
        warnings.append(f"{len(cut)} lesion(s) reach {where} and may go on beyond it: {_some(cut)}")
    unmeasured = sum(item.shape is None for item in found.measured)
    if unmeasured:
        warnings.append(f"{unmeasured} lesion(s) beyond analysis.measured have no more than volume and place")
    if follow_up is not None:
        unseen = [one for change in follow_up.since_baseline if change.kind == "not seen" for one in change.prior]
        if unseen:
            warnings.append(
                f"lesion(s) of the baseline lie outside this scan, or where it was not observed: {_some(unseen)}"
            )
    return tuple(warnings)


def _some(ids: list[int]) -> str:
    shown = ", ".join(map(str, ids[:10]))
    return shown if len(ids) <= 10 else f"{shown}, ..."


def _image_reader(subject: VolumeMask) -> ReadImage:
    def read(box: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        with subject.scene.open() as reader:
            return reader.native(box)

    return read
