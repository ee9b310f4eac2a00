"""Volumes of the classes of a volume mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.analysis.subject import Findings, VolumeMask
from tasks.answers.rounding import rounded
from tasks.answers.volumes import ClassVolumes, class_volumes
from tasks.jobs.analysis import AreaAnalysis
from tasks.reports.blocks import Picture, Section, Table
from tasks.reports.legend import NOT_OBSERVED
from tasks.reports.page_figures import number
from tasks.reports.volume_picture import class_preview


def analyse_volumes(subject: VolumeMask, _settings: AreaAnalysis, folder: Path) -> Findings:
    """Measure every class in millilitres, and write ``preview.png``.

    Args:
        subject: The mask.
        folder: The product, not yet published.
    """
    found = measure_classes(subject)
    preview, seen = class_preview(subject, found)
    (folder / "preview.png").write_bytes(preview)
    picture = Picture(preview, "Axial, coronal and sagittal planes of the volume, and the mask laid over them.", seen)
    headline = {**volume_headline(subject.names, found), "observed_percent": round(found.observed_percent, 3)}
    sections = (Section("At a glance", (picture,)), volume_section(subject.names, found))
    return Findings(headline, {"classes": volume_table(subject.names, found)}, sections)


def measure_classes(subject: VolumeMask) -> ClassVolumes:
    """Count the voxels of every class."""
    scene = subject.scene
    return class_volumes(subject.read, scene.frame.native_shape, scene.voxel_volume_ml, len(subject.classes))


def volume_headline(names: list[str], found: ClassVolumes) -> dict[str, Any]:
    """Return millilitres of every class but background."""
    return {
        f"{name.replace(' ', '_')}_ml": rounded(found.volumes_ml[label], 4)
        for label, name in enumerate(names)
        if label and found.is_shown(label, name)
    }


def volume_table(names: list[str], found: ClassVolumes) -> dict[str, Any]:
    """Return voxels and millilitres by class name."""
    rows: dict[str, Any] = {
        name: {"voxels": found.voxels[label], "volume_ml": float(f"{found.volumes_ml[label]:.9g}")}
        for label, name in enumerate(names)
        if found.is_shown(label, name)
    }
    unseen = found.not_observed_voxels
    return rows | {NOT_OBSERVED: {"voxels": unseen, "volume_ml": float(f"{unseen * found.voxel_ml:.9g}")}}


def volume_section(names: list[str], found: ClassVolumes) -> Section:
    """Tell how much every class fills."""
    total = sum(found.voxels)
    rows = [
        (name, number(found.voxels[label]), number(found.volumes_ml[label]), number(100 * found.voxels[label] / total))
        for label, name in enumerate(names)
        if total and found.is_shown(label, name)
    ]
    unseen = found.not_observed_voxels
    rows.append((NOT_OBSERVED, number(unseen), number(unseen * found.voxel_ml), "\u2013"))
    note = "Voxels times the volume of one, the determinant of the affine. Percent of the voxels that were observed."
    header = ("Class", "Voxels", "mL", "% of observed")
    return Section("Volume of every class", (Table("Volume by class", header, tuple(rows), note),))
