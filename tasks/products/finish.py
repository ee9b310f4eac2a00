"""From the block store to the files that users open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from models.card import write_card
from models.classical.card import is_fitted
from tasks.files.room import writing
from tasks.instances.layers import layer_reader
from tasks.intake.request import Request
from tasks.products.cog import RasterProductSpec, write_cog
from tasks.products.nifti import write_nifti
from tasks.scenes.raster.scene import RasterScene
from tasks.segment.fitting import FITTED_CARD
from tasks.segment.prepare import Prepared


def finish(request: Request, prepared: Prepared, folder: Path) -> None:
    """Write mask, confidence and instances of a segmented scene, and the card of a model that was fitted to it.

    Args:
        request: Names the model and its classes.
        prepared: The scene, every block of which is in the store.
        folder: That ``begin_product`` made.

    Raises:
        ProductError: When a file does not verify after writing.
        DiskFullError: When there is no room for it.
    """
    work = prepared.work
    request = replace(request, card=work.card)
    if is_fitted(work.card):
        write_card(work.card, folder / FITTED_CARD)
    with writing("the product", folder):
        for layer, dtype in work.products.items():
            read = layer_reader(work, layer)
            if isinstance(work.source, RasterScene):
                write_cog(read, folder / f"{layer}.tif", _raster_spec(request, prepared, work.source, layer))
            else:
                write_nifti(read, dtype, prepared.volume, folder / f"{layer}.nii.gz")


def _raster_spec(request: Request, prepared: Prepared, scene: RasterScene, layer: str) -> RasterProductSpec:
    tags = provenance(request, prepared)
    if layer == "mask":
        return RasterProductSpec(scene.grid, "mask", request.card.classes, tags)
    kind: Literal["confidence", "instances"] = "confidence" if layer == "confidence" else "instances"
    return RasterProductSpec(scene.grid, kind, (), tags)


def provenance(request: Request, prepared: Prepared) -> dict[str, str]:
    """Return what a mask was made from, as tags: a pure function of input, model, job and plan."""
    weights = request.card.weights
    slot = prepared.work.plan.slot
    return {
        "SWATHE_SCENE": prepared.scene.id,
        "SWATHE_JOB": request.job.job,
        "SWATHE_MODEL": request.card.name,
        "SWATHE_WEIGHTS_SHA256": weights.sha256 if weights else "none",
        "SWATHE_INPUT_SHA256": prepared.fingerprint.sha256,
        "SWATHE_PRECISION": f"{slot.settings.dtype} on {slot.settings.device}",
        "SWATHE_VERSION": dict(slot.versions)["swathe"],
    }
