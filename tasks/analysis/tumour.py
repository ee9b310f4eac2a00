"""Lesions of a volume mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.analysis.subject import Findings, VolumeMask
from tasks.answers.tumour.components import Lesion, lesions, total_ml
from tasks.answers.tumour.settings import TumourAnalysis
from tasks.box import Box
from tasks.products.lesions import write_lesions_csv
from tasks.reports.pictures import volume_preview


def analyse_tumour(subject: VolumeMask, settings: TumourAnalysis, folder: Path) -> Findings:
    """Measure every connected component, and write ``lesions.csv`` and ``preview.png``.

    Args:
        subject: The mask.
        settings: Of the job.
        folder: The product, not yet published.
    """
    # One byte per voxel; a slab at a time would split lesions.
    mask = subject.read(Box.of_shape(subject.scene.frame.native_shape))
    found = lesions(mask, subject.scene.affine_mm, settings.label, settings.connectivity)
    names = subject.names
    write_lesions_csv(found, names, folder / "lesions.csv")
    (folder / "preview.png").write_bytes(volume_preview(subject, found))
    key = names[settings.label].replace(" ", "_")
    headline: dict[str, Any] = {
        f"{key}_ml": round(total_ml(found), 4),
        "lesions": len(found),
        "largest_ml": round(found[0].volume_ml, 4) if found else 0.0,
    }
    rows = [_lesion_row(lesion, names) for lesion in found]
    return Findings(headline, {"connectivity": settings.connectivity, "lesions": rows})


def _lesion_row(lesion: Lesion, names: list[str]) -> dict[str, Any]:
    return {
        "id": lesion.id,
        "class": names[lesion.label],
        "voxels": lesion.n_voxels,
        "volume_ml": round(lesion.volume_ml, 6),
        "centroid_ras_mm": [round(value, 3) for value in lesion.centroid_ras_mm],
        "touches_border": lesion.touches_border,
    }
