"""What one worker slot can do with a model, measured on the worker before the first block."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from models.card import Card
from models.catalogue import find
from models.classical.card import card_spec, fit_arguments
from models.predictors.loading import load_predictor
from models.run_settings import RunSettings
from tasks.jobs.job import Job
from tasks.segment.memory import available_bytes
from tasks.segment.plan import Slot, choose_blend, plan_tiles

# Libraries whose version decides the last bits of a mask.
_DECISIVE = ("numpy", "rasterio", "nibabel", "scipy", "torch", "swathe")


def measure_slot(card: Card, folder: Path | None, job: Job, n_threads: int) -> Slot:
    """Choose device, precision and batch, load the model and push one batch of the planned shape through it.

    Runs where blocks will run. ``dtype: auto`` takes a faster precision only where the card's own measurement of
    changed labels is within the job's tolerance.

    Args:
        card: The model.
        folder: Where its weights lie.
        job: Asks for a device, a precision, a tile.
        n_threads: CPU threads of a slot, unless the job says.

    Raises:
        DeviceError: When the device is not there, or a single tile does not fit.
    """
    tile, _, _ = plan_tiles(job, card)
    threads = n_threads if job.run.threads == "auto" else job.run.threads
    own = find(card.network.name).library
    versions = tuple((name, version(name)) for name in (*_DECISIVE, *([own] if own else [])))
    settings = RunSettings(
        tile=tile,
        device=job.run.device,
        threads=threads,
        activation="logits" if choose_blend(job, card) == "logits" else "softmax",
    )
    if card.weights is None or folder is None:
        # What is fitted to the scene cannot be loaded before it.
        spec = load_predictor(card, folder, settings).spec if fit_arguments(card) is None else card_spec(card)
        return Slot(
            settings=replace(settings, device="cpu"),
            device_name="no network",
            peak_bytes=0,
            spec=spec,
            versions=versions,
            memory_bytes=available_bytes(),
        )
    # Here, because it brings torch, which only workers need.
    from models.predictors.choice import choose_run

    batch = None if job.tiling.batch == "auto" else job.tiling.batch
    chosen = choose_run(
        card,
        folder / card.weights.file,
        settings=settings,
        dtype=job.run.dtype,
        tolerance=job.run.tolerance,
        batch=batch,
    )
    return Slot(
        settings=chosen.settings,
        device_name=chosen.device_name,
        peak_bytes=chosen.peak_bytes,
        spec=chosen.spec,
        versions=versions,
        memory_bytes=available_bytes(),
    )
