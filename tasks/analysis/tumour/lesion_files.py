"""``lesions.csv``, a row per lesion, and ``followup.csv``, a row for what became of lesions."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tasks.answers.tumour.changes import Change
from tasks.answers.tumour.measure import Measurement, PlacedLine, to_lps
from tasks.answers.tumour.series import FollowUp

_SHAPE = (
    "mesh_volume_ml",
    "surface_mm2",
    "surface_volume_ratio_per_mm",
    "sphericity",
    "diameter_3d_mm",
    "diameter_slice_mm",
    "diameter_column_mm",
    "diameter_row_mm",
    "major_axis_mm",
    "minor_axis_mm",
    "least_axis_mm",
    "elongation",
    "flatness",
)
_INTENSITY = ("mean", "std", "minimum", "maximum", "p10", "median", "p90")
_HEADER = [
    "id", "label", "class", "n_voxels", "volume_ml", "r_mm", "a_mm", "s_mm", "touches_border",
    "mesh_volume_ml", "longest_axial_mm", "short_axis_mm", "product_mm2", "slice", "n_slices",
    "long_from_lps_mm", "long_to_lps_mm", "short_from_lps_mm", "short_to_lps_mm", "line_leaves_lesion",
    "target", "l_mm", "p_mm", *_SHAPE[1:], *(f"intensity_{name}" for name in _INTENSITY),
    "mean_probability", "volume_low_ml", "volume_high_ml", "empty_because",
]  # fmt: skip
_CHANGES = [
    "scene", "since", "change", "prior_ids", "current_ids", "prior_ml", "current_ml", "change_ml", "change_percent",
    "overlap_ml", "distance_mm", "seen_share", "touches_border",
]  # fmt: skip


def write_lesions_csv(
    found: Sequence[Measurement], names: Sequence[str], targets: Sequence[int], destination: Path
) -> None:
    """Write one row per lesion; a file with a header alone where there is none.

    Cells of what cannot be computed are empty, and the last column says why.

    Args:
        found: Lesions, in the order of the rows.
        names: Of the classes, by label.
        targets: Ids of RECIST's target lesions, were this date the baseline.
        destination: The CSV file; lengths in mm, volumes in mL, ``r_mm, a_mm, s_mm`` right-anterior-superior and
            ``l_mm, p_mm`` with the same ``s_mm`` left-posterior-superior; slices count from 0.
    """
    _write(destination, _HEADER, (_lesion_row(item, names, targets) for item in found))


def write_followup_csv(found: Sequence[FollowUp], destination: Path) -> None:
    """Write what became of lesions, since the baseline and since the date before.

    Args:
        found: A date each.
        destination: The CSV file; several ids in a cell are joined by spaces.
    """
    _write(destination, _CHANGES, (row for step in found for row in _change_rows(step)))


def _change_rows(step: FollowUp) -> Iterator[list[Any]]:
    pairs = [(step.ids[0], step.since_baseline)]
    if step.since_previous is not None:
        pairs.append((step.ids[-2], step.since_previous))
    for since, changes in pairs:
        yield from ([step.ids[-1], *_change_row(since, change)] for change in changes)


def _write(destination: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with destination.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _lesion_row(found: Measurement, names: Sequence[str], targets: Sequence[int]) -> list[Any]:
    lesion, shape, values = found.lesion, found.shape, found.intensity
    left, posterior, _ = to_lps(lesion.centroid_ras_mm)
    long, short = found.long, found.short
    leaves = None if long is None or short is None else long.leaves_lesion or short.leaves_lesion
    interval = found.interval
    why = dict(found.reasons) | (shape.reasons if shape else {})
    return [
        *(lesion.id, lesion.label, names[lesion.label], lesion.n_voxels, _number(lesion.volume_ml, 4)),
        *(_number(value, 2) for value in lesion.centroid_ras_mm),
        _yes(lesion.touches_border),
        _number(getattr(shape, "mesh_volume_ml", None), 4),
        *(_number(getattr(line, "length_mm", None), 2) for line in (long, short)),
        *(_number(found.product_mm2, 2), found.slice_index, found.n_slices),
        *(end for line in (long, short) for end in _ends(line)),
        *(_yes(leaves), _yes(lesion.id in targets), _number(left, 2), _number(posterior, 2)),
        *(_number(getattr(shape, name, None), 4) for name in _SHAPE[1:]),
        *(_number(getattr(values, name, None), 4) for name in _INTENSITY),
        _number(found.mean_probability, 4),
        *(_number(getattr(interval, name, None), 4) for name in ("low_ml", "high_ml")),
        "; ".join(f"{name}: {reason}" for name, reason in why.items()),
    ]


def _change_row(since: str, change: Change) -> list[Any]:
    return [
        *(since, change.kind, " ".join(map(str, change.prior)), " ".join(map(str, change.current))),
        *(_number(value, 4) for value in (change.prior_ml, change.current_ml, change.change_ml)),
        *(_number(change.change_percent, 2), _number(change.overlap_ml, 4), _number(change.distance_mm, 2)),
        *(_number(change.seen_share, 4), _yes(not change.is_whole)),
    ]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _yes(value: bool | None) -> str:
    return "" if value is None else "yes" if value else "no"


def _ends(line: PlacedLine | None) -> tuple[str, str]:
    if line is None:
        return "", ""
    start, stop = (" ".join(f"{value:.4f}" for value in end) for end in line.ends_lps_mm)
    return start, stop
