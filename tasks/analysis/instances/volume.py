"""Instances of a volume: how many of each class, how large, and where."""

from __future__ import annotations

from math import fsum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.card import ClassEntry
from tasks.analysis.instances.instance_table import VolumeInstance, write_instances_csv
from tasks.analysis.subject import Findings
from tasks.answers.rounding import rounded
from tasks.geometry.box import split
from tasks.instances.layers import InstanceLayers
from tasks.instances.paint import WINDOWS
from tasks.reports.blocks import Section, Table
from tasks.reports.page_figures import number
from tasks.scenes.volume.scene import VolumeScene

# The largest have a row in summary.json.
_MOST_ROWS = 1000


def describe_volume_instances(
    layers: InstanceLayers, scene: VolumeScene, classes: tuple[ClassEntry, ...], folder: Path
) -> Findings:
    """Count and measure instances, and write ``instances.csv``.

    Args:
        layers: The instances.
        scene: That they were found in.
        classes: By number.
        folder: The product, not yet published.
    """
    found, names = _measured(layers, scene), [entry.name for entry in classes]
    write_instances_csv(found, names, folder / "instances.csv")
    # Class 0 is mostly background, whose areas nobody asked for.
    first = int(all(one.label for one in found))
    by_class = {
        name: _of_class([one for one in found if one.label == label]) for label, name in list(enumerate(names))[first:]
    }
    largest = sorted(sorted(found, key=lambda one: -one.n_voxels)[:_MOST_ROWS], key=lambda one: one.id)
    answers: dict[str, Any] = {
        "instances": {
            "found": len(found),
            "at_border": sum(one.touches_border for one in found),
            "by_class": by_class,
            "rows": [_row(one, names) for one in largest],
            "all_instances_in": "instances.csv",
        }
    }
    headline = {f"{name.replace(' ', '_')}_instances": facts["instances"] for name, facts in by_class.items()}
    return Findings(headline, answers, (_section(by_class),))


def _measured(layers: InstanceLayers, scene: VolumeScene) -> list[VolumeInstance]:
    table, sums = layers.table, np.zeros((layers.n, 3))
    for box in split(layers.shape, WINDOWS[3]):
        ids = layers.ids(box)
        places = np.argwhere(ids)
        if len(places):
            numbers, own = np.unique(ids[tuple(places.T)], return_inverse=True)
            for axis in range(3):
                # Sums of whole numbers: nothing is rounded, whatever the order.
                sums[numbers - 1, axis] += np.bincount(own, weights=places[:, axis] + box.start[axis])
    centres = sums / np.maximum(table.pixels, 1)[:, None]
    world = centres @ scene.affine_mm[:3, :3].T + scene.affine_mm[:3, 3]
    return [_instance(k, layers, world, scene.voxel_volume_ml) for k in range(layers.n)]


def _instance(k: int, layers: InstanceLayers, world: NDArray[np.float64], voxel_ml: float) -> VolumeInstance:
    table, (r, a, s) = layers.table, world[k].tolist()
    score = float(table.scores[k])
    voxels = int(table.pixels[k])
    return VolumeInstance(
        id=k + 1,
        label=int(table.labels[k]),
        n_voxels=voxels,
        volume_ml=voxels * voxel_ml,
        centroid_ras_mm=(r, a, s),
        score=None if np.isnan(score) else score,
        touches_border=bool(table.touches_border[k]),
    )


def _of_class(own: list[VolumeInstance]) -> dict[str, Any]:
    return {
        "instances": len(own),
        "voxels": sum(one.n_voxels for one in own),
        "volume_ml": rounded(fsum(one.volume_ml for one in own), 6),
        "largest_ml": rounded(max(one.volume_ml for one in own), 6) if own else None,
    }


def _row(one: VolumeInstance, names: list[str]) -> dict[str, Any]:
    return {
        "id": one.id,
        "class": names[one.label],
        "voxels": one.n_voxels,
        "volume_ml": rounded(one.volume_ml, 6),
        "centroid_ras_mm": [round(value, 4) for value in one.centroid_ras_mm],
        "score": None if one.score is None else round(one.score, 6),
        "touches_border": one.touches_border,
    }


def _section(by_class: dict[str, dict[str, Any]]) -> Section:
    rows = tuple(
        (name, number(facts["instances"]), number(facts["voxels"]), number(facts["volume_ml"]))
        for name, facts in by_class.items()
    )
    note = "Each one with its volume and place in instances.csv; its id at every voxel in instances.nii.gz."
    return Section("Instances", (Table("Instances by class", ("Class", "Instances", "Voxels", "mL"), rows, note),))
