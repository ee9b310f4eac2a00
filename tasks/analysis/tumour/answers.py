"""Lesions, targets and follow-up as ``summary.json`` has them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tasks.answers.tumour.changes import Change
from tasks.answers.tumour.measure import Measurement, PlacedLine, to_lps
from tasks.answers.tumour.response import Response
from tasks.answers.tumour.series import FollowUp, Study
from tasks.answers.tumour.targets import Products, Targets

_CONVENTIONS = {
    "volume": "voxels times the volume of one (affine's determinant)",
    "mesh_volume": "marching cubes with vertices in the middle of edges, as PyRadiomics 3.0.1",
    "diameters": "in one slice of the grid; ends a quarter of a voxel beyond the centres of outer voxels",
    "voxel": "depth, rows, cols of the mask turned to superior, anterior, right; centres are whole numbers",
    "registration": "by the affines of the files alone; nothing is deformed",
}


def lesion_answers(found: Study, names: list[str], connectivity: int) -> dict[str, Any]:
    """Return everything about one date; null where something cannot be computed, with the reason beside it."""
    return {
        "connectivity": connectivity,
        "conventions": _CONVENTIONS,
        "lesions": [_lesion(item, names) for item in found.measured],
        "recist_targets": _targets(found.targets),
        "rano_targets": _targets(found.products),
    }


def follow_up_answers(found: FollowUp) -> dict[str, Any]:
    """Return what became of lesions, and the proposed responses with their inputs."""
    previous = found.since_previous
    return {
        "follow_up": {
            "scenes": list(found.ids),
            "since_baseline": [_change(change) for change in found.since_baseline],
            "since_previous": None if previous is None else [_change(change) for change in previous],
            "since_previous_is_null_because": "the date before is the baseline" if previous is None else None,
            "baseline_targets": list(found.targets.lesions),
            "proposed_response": {"recist": _response(found.recist), "rano": _response(found.rano)},
        }
    }


def _targets(found: Targets | Products) -> dict[str, Any]:
    why = None if found.lesions else "no lesion is measurable by this criterion"
    return _rounded(asdict(found)) | {"sum_is_null_because": why}


def _lesion(found: Measurement, names: list[str]) -> dict[str, Any]:
    lesion = found.lesion
    return _rounded(
        {
            "id": lesion.id,
            "class": names[lesion.label],
            "voxels": lesion.n_voxels,
            "volume_ml": lesion.volume_ml,
            "volume_interval_ml": None if found.interval is None else asdict(found.interval),
            "centroid_ras_mm": lesion.centroid_ras_mm,
            "centroid_lps_mm": to_lps(lesion.centroid_ras_mm),
            "touches_border": lesion.touches_border,
            "slice": found.slice_index,
            "slices": found.n_slices,
            "longest_axial_diameter": _line(found.long),
            "short_axis": _line(found.short),
            "product_mm2": found.product_mm2,
            "shape": None if found.shape is None else _without_reasons(asdict(found.shape)),
            "intensity": None if found.intensity is None else asdict(found.intensity),
            "mean_probability": found.mean_probability,
            "null_because": found.reasons | (found.shape.reasons if found.shape else {}),
        }
    )


def _line(line: PlacedLine | None) -> dict[str, Any] | None:
    if line is None:
        return None
    return {
        "length_mm": line.length_mm,
        "ends_ras_mm": line.ends_ras_mm,
        "ends_lps_mm": line.ends_lps_mm,
        "ends_voxel": line.ends_voxel,
        "leaves_lesion": line.leaves_lesion,
    }


def _change(change: Change) -> dict[str, Any]:
    return _rounded(asdict(change))


def _response(response: Response) -> dict[str, Any]:
    return _rounded(asdict(response)) | {"is_proposed": True}


def _without_reasons(shape: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in shape.items() if key != "reasons"}


def _rounded(found: dict[str, Any]) -> dict[str, Any]:
    """Round to nine significant digits: the last bits of a float differ between machines."""
    return {key: _round(value) for key, value in found.items()}


def _round(value: Any) -> Any:  # noqa: ANN401 - anything that JSON can say
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return _rounded(value)
    if isinstance(value, list | tuple):
        return [_round(part) for part in value]
    return value
