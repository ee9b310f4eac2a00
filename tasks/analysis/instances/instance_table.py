"""``instances.csv``: a row per object of a volume."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.answers.rounding import written

_HEADER = [
    "id", "label", "class", "n_voxels", "volume_ml", "r_mm", "a_mm", "s_mm", "score", "touches_border",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class VolumeInstance:
    """One object of a volume.

    Attributes:
        id: From 1, along first voxels.
        label: Its class.
        n_voxels: How many voxels it has.
        volume_ml: Voxels times the volume of one.
        centroid_ras_mm: Mean of its voxel centres: right, anterior, superior.
        score: 0 to 1; None where it has none.
        touches_border: Whether it reaches the edge of the volume, or what was not observed.
    """

    id: int
    label: int
    n_voxels: int
    volume_ml: float
    centroid_ras_mm: tuple[float, float, float]
    score: float | None
    touches_border: bool


def write_instances_csv(found: Sequence[VolumeInstance], names: Sequence[str], destination: Path) -> None:
    """Write one row per object; a file with a header alone where there is none.

    Args:
        found: The objects, in the order of the rows.
        names: Of the classes, by number.
        destination: The CSV file; lengths in mm, volumes in mL.
    """
    with destination.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_HEADER)
        for one in found:
            place = (f"{value:.2f}" for value in one.centroid_ras_mm)
            score = "" if one.score is None else f"{one.score:.4f}"
            writer.writerow(
                [
                    one.id,
                    one.label,
                    names[one.label],
                    one.n_voxels,
                    written(one.volume_ml, 4),
                    *place,
                    score,
                    "yes" if one.touches_border else "no",
                ]
            )
