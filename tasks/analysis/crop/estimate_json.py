"""Estimates and accuracies as JSON says them."""

from __future__ import annotations

from typing import Any

from tasks.analysis.crop.samples import AreaEstimates
from tasks.answers.crop.estimate import Estimate


def estimate_json(estimate: Estimate | None, unit: str, reason: str = "") -> dict[str, Any]:
    """Return an estimate as JSON says it, the unit in its keys; null with a reason where there is none."""
    if estimate is None:
        return {f"value{unit}": None, f"value{unit}_is_null_because": reason}
    low, high = estimate.interval
    return {
        f"value{unit}": estimate.value,
        f"standard_error{unit}": estimate.standard_error,
        f"half_width_95{unit}": estimate.half_width,
        f"interval_95{unit}": [low, high],
    }


def accuracy_json(found: AreaEstimates, design: str) -> dict[str, Any]:
    """Return accuracies, error matrix and sample as JSON says them."""
    accuracy, sample = found.accuracy, found.sample
    names = sample.class_names
    per_class = {
        name: {
            "users": estimate_json(users, "", "no sample was mapped as this class"),
            "producers": estimate_json(producers, "", "no sample is of this class"),
        }
        for name, users, producers in zip(names, accuracy.users, accuracy.producers, strict=True)
    }
    return {
        "overall": estimate_json(accuracy.overall, ""),
        "classes": per_class,
        "error_matrix": {
            "rows": "map",
            "columns": "reference",
            "classes": list(names),
            "counts": accuracy.counts.tolist(),
            "area_ha": (accuracy.shares * accuracy.total_ha).tolist(),
        },
        "sample": {
            "units": len(sample.strata),
            "design": design,
            "strata": {
                name: {"units": size, "area_ha": area}
                for name, size, area in zip(sample.stratum_names, accuracy.sizes, sample.areas_ha, strict=True)
            },
        },
    }
