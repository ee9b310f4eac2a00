"""``lesions.csv``: a row per lesion."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from tasks.answers.tumour.components import Lesion


def write_lesions_csv(found: Sequence[Lesion], names: Sequence[str], destination: Path) -> None:
    """Write one row per lesion; a file with a header alone where there is none.

    Args:
        found: Lesions, in the order of the rows.
        names: Of the classes, by label.
        destination: The CSV file; lengths in mm, volumes in mL, world axes right-anterior-superior.
    """
    header = ["id", "label", "class", "n_voxels", "volume_ml", "r_mm", "a_mm", "s_mm", "touches_border"]
    with destination.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for lesion in found:
            place = [f"{value:.2f}" for value in lesion.centroid_ras_mm]
            border = "yes" if lesion.touches_border else "no"
            what = [lesion.id, lesion.label, names[lesion.label], lesion.n_voxels, f"{lesion.volume_ml:.4f}"]
            writer.writerow([*what, *place, border])
