"""From a finished mask to ``summary.json``, tables and the preview of a product."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tasks.answers.area import ClassAreas, class_areas
from tasks.answers.tumour import Lesion, lesions, total_ml, write_lesions_csv
from tasks.box import Box
from tasks.reports.pictures import raster_preview, volume_preview
from tasks.request import Request
from tasks.scenes.raster import RasterScene
from tasks.segment.prepare import Prepared
from tasks.segment.store import BlockStore

ReadMask: TypeAlias = Callable[[Box], NDArray[np.unsignedinteger[Any]]]


def analyse(request: Request, prepared: Prepared, folder: Path) -> dict[str, Any]:
    """Measure a mask, and write ``summary.json``, ``lesions.csv`` (volumes) and ``preview.png``.

    All of it is a pure function of input, model, job and plan but for the block.

    Args:
        request: Names job and model.
        prepared: The scene, every block of which is in the store.
        folder: The product, not yet published.

    Returns:
        Headline numbers for the batch table, units in their names.
    """
    read: ReadMask = partial(BlockStore(prepared.work.store).read, "mask")
    if isinstance(prepared.scene, RasterScene):
        headline, answers = _analyse_raster(request, prepared, read, folder)
    else:
        headline, answers = _analyse_volume(request, prepared, read, folder)
    summary = _facts(request, prepared) | {"headline": headline} | answers
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    return headline


def _analyse_raster(
    request: Request, prepared: Prepared, read: ReadMask, folder: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    scene, classes = prepared.scene, request.card.classes
    if not isinstance(scene, RasterScene):
        raise TypeError(f"{scene.id} is not a raster")
    areas = class_areas(read, scene.grid, len(classes))
    (folder / "preview.png").write_bytes(raster_preview(request, scene, read, areas))
    total = math.prod(scene.frame.native_shape)
    headline: dict[str, Any] = {}
    for number, entry in enumerate(classes[1:], start=1):
        key = entry.name.replace(" ", "_")
        headline[f"{key}_pixels"] = areas.pixels[number]
        if areas.areas_ha is not None:
            headline[f"{key}_ha"] = round(areas.areas_ha[number], 4)
    headline = dict(sorted(headline.items(), key=lambda item: not item[0].endswith("_ha")))
    headline["observed_percent"] = round(100 * (total - areas.not_observed_pixels) / total, 3)
    return headline, {"classes": _area_table(areas, [entry.name for entry in classes])}


def _area_table(areas: ClassAreas, names: list[str]) -> dict[str, Any]:
    hectares = areas.areas_ha or (None,) * len(names)
    rows: dict[str, Any] = {
        name: {"pixels": pixels, "area_ha": area}
        for name, pixels, area in zip(names, areas.pixels, hectares, strict=True)
    }
    rows["not observed"] = {"pixels": areas.not_observed_pixels, "area_ha": areas.not_observed_ha}
    return rows if areas.reason is None else rows | {"area_ha_is_null_because": areas.reason}


def _analyse_volume(
    request: Request, prepared: Prepared, read: ReadMask, folder: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    scene, analysis = prepared.volume, request.job.analysis
    label = analysis.label if analysis else 1
    connectivity = analysis.connectivity if analysis else 26
    # One byte per voxel; a slab at a time would split lesions.
    mask = read(Box.of_shape(scene.frame.native_shape))
    found = lesions(mask, scene.affine_mm, label, connectivity)
    names = [entry.name for entry in request.card.classes]
    write_lesions_csv(found, names, folder / "lesions.csv")
    (folder / "preview.png").write_bytes(volume_preview(request, scene, read, found))
    key = names[label].replace(" ", "_")
    headline: dict[str, Any] = {
        f"{key}_ml": round(total_ml(found), 4),
        "lesions": len(found),
        "largest_ml": round(found[0].volume_ml, 4) if found else 0.0,
    }
    return headline, {"connectivity": connectivity, "lesions": [_lesion_row(lesion, names) for lesion in found]}


def _lesion_row(lesion: Lesion, names: list[str]) -> dict[str, Any]:
    return {
        "id": lesion.id,
        "class": names[lesion.label],
        "voxels": lesion.n_voxels,
        "volume_ml": round(lesion.volume_ml, 6),
        "centroid_ras_mm": [round(value, 3) for value in lesion.centroid_ras_mm],
        "touches_border": lesion.touches_border,
    }


def _facts(request: Request, prepared: Prepared) -> dict[str, Any]:
    scene, card = prepared.scene, request.card
    return {
        "scene": scene.id,
        "job": request.job.job,
        "shape": scene.frame.native_shape,
        "pixels": math.prod(scene.frame.native_shape),
        "input_sha256": prepared.fingerprint.sha256,
        "input_content_hashed": prepared.fingerprint.content_hashed,
        "model": card.name,
        "weights_sha256": card.weights.sha256 if card.weights else None,
        "attribution": card.training.attribution if card.training else None,
        "plan": prepared.work.plan.identity(),
        "warnings": list(scene.notes) if isinstance(scene, RasterScene) else [],
    }
