"""From a card and the file that it names to a predictor, whoever made the model."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from models.card import Card
from models.catalogue import find
from models.predictor import Predictor
from models.registry import RunSettings
from models.torch_predictor import load_torch_predictor

if TYPE_CHECKING:
    from models.object_predictor import TorchDetector


class ProbedPredictor(Predictor, Protocol):
    """A predictor that can be tried before the first block."""

    def probe(self) -> int:
        """Run a batch of the planned shape and return its peak bytes, as far as they are told.

        Raises:
            DeviceError: When it does not fit.
        """
        ...


class _Program(Protocol):
    def load(self, card: Card, path: Path, settings: RunSettings) -> ProbedPredictor: ...


def load_weighted(card: Card, weights: Path, settings: RunSettings) -> ProbedPredictor | TorchDetector:
    """Make ready a network that swathe builds, or a program that was made elsewhere.

    Raises:
        UnknownModelError: When the card names no known network.
        CardError: When the card contradicts itself, or the program.
        WeightsError: When the weights are not those of the card.
        DeviceError: When the device is not there or does not compute in the dtype.
    """
    entry = find(card.network.name)
    if entry.answer == "instance":
        # Here, because it brings torchvision, which takes as long as torch.
        from models.object_predictor import load_torch_detector

        return load_torch_detector(card, weights, settings)
    if entry.answer == "panoptic":
        from models.object_predictor import load_torch_detector
        from models.panoptic_predictor import TorchPanoptic

        return load_torch_detector(card, weights, settings, TorchPanoptic)
    if entry.fitted_by != "others":
        return load_torch_predictor(card, weights, settings)
    program: _Program = import_module(entry.module)
    return program.load(card, weights, settings)
