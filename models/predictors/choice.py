"""Which device, precision and batch a model runs with here; loads the model to find out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from models.card import Card
from models.device import choose_device, describe, supported_dtypes
from models.errors import DeviceError
from models.predictor import PredictorSpec
from models.predictors.loading import load_weighted
from models.run_settings import Device, Dtype, RunSettings

# A GPU wants many tiles at a time; on a CPU each tile of a batch has threads of its own.
_GPU_BATCHES = (16, 8, 4, 2, 1)
_CPU_BATCHES = (2, 1)


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        settings: Device, precision and batch named outright.
        device_name: The processor's own name.
        peak_bytes: What one batch took, as far as the device tells.
        spec: What the predictor needs and gives.
    """

    settings: RunSettings
    device_name: str
    peak_bytes: int
    spec: PredictorSpec


def choose_run(
    card: Card,
    weights: Path,
    settings: RunSettings,
    dtype: Dtype | Literal["auto"],
    tolerance: float,
    batch: int | None,
) -> Choice:
    """Choose what ``settings`` leaves open, and push one batch through the model.

    Args:
        card: The model.
        weights: Its weights.
        settings: Tile, threads and activation; ``device`` may be ``auto``.
        dtype: A precision, or ``auto``: bfloat16 where the device has it and the card's own measurement of changed
            labels is within ``tolerance``, else float32.
        tolerance: Share of labels.
        batch: Tiles per pass; None for the largest of 16, 8, 4, 2, 1 that fits a GPU, and 2 on a CPU.

    Raises:
        DeviceError: When the device is not there, or not even one tile fits.
    """
    device = choose_device(_device(card, settings.device))
    name: Literal["cpu", "cuda"] = "cuda" if device.type == "cuda" else "cpu"
    chosen = replace(settings, device=name, dtype=_choose_dtype(card, supported_dtypes(device), dtype, tolerance))
    batches = (batch,) if batch is not None else _GPU_BATCHES if name == "cuda" else _CPU_BATCHES
    for tiles in batches:
        predictor = load_weighted(card, weights, replace(chosen, batch=tiles))
        try:
            peak = predictor.probe()
        except DeviceError:
            if tiles == batches[-1]:
                raise
            continue
        return Choice(replace(chosen, batch=tiles), str(describe(device)["name"]), peak, predictor.spec)
    raise DeviceError(f"{card.name}: no batch was tried")


def _device(card: Card, asked: Device) -> Device:
    if card.network.name != "onnx":
        return asked
    from models.predictors.onnx_runtime import reachable

    return reachable(asked)


def _choose_dtype(card: Card, supported: tuple[str, ...], wanted: Dtype | Literal["auto"], tolerance: float) -> Dtype:
    if wanted != "auto":
        return wanted
    measured = card.bfloat16_disagreement
    return "bfloat16" if "bfloat16" in supported and measured is not None and measured <= tolerance else "float32"
