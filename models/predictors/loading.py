"""From a card and the file that it names to a predictor, whoever made the model."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from models.card import Card, Network
from models.catalogue import find
from models.classical.card import load
from models.classical.settings import ARGUMENTS
from models.errors import CardError
from models.extensions import PREDICTORS, extensions
from models.predictor import ObjectPredictor, Predictor
from models.predictors.added import load_added
from models.predictors.fakes import FAKES
from models.run_settings import RunSettings

if TYPE_CHECKING:
    from models.predictors.objects import TorchDetector


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


def load_predictor(card: Card, card_dir: Path | None, settings: RunSettings) -> Predictor | ObjectPredictor:
    """Make ready what a card describes.

    Args:
        card: Of a network with weights, of a method without, or of what another package adds.
        card_dir: Where the weights lie; None where there are none.
        settings: How to run it.

    Raises:
        UnknownModelError: When no network has that name.
        CardError: When the card contradicts itself.
        WeightsError: When the weights are not those of the card.
        DeviceError: When the device is not there or does not know the dtype.
        ExtensionError: When what another package adds cannot be used.
    """
    if card.network.name in extensions(PREDICTORS):
        return load_added(card)
    if card.network.name in FAKES:
        return _load_fake(card.network)
    if card.network.name in ARGUMENTS:
        return load(card)
    if card.weights is None or card_dir is None:
        raise CardError(f"{card.name}: the card names no weights; state weights.file and weights.sha256")
    return load_weighted(card, card_dir / card.weights.file, settings)


def _load_fake(network: Network) -> Predictor | ObjectPredictor:
    try:
        return FAKES[network.name](**network.arguments)
    except TypeError as error:
        raise CardError(f"network {network.name!r}: its arguments {network.arguments} do not fit: {error}") from error


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
        from models.predictors.objects import load_torch_detector

        return load_torch_detector(card, weights, settings)
    if entry.answer == "panoptic":
        from models.predictors.objects import TorchPanoptic, load_torch_detector

        return load_torch_detector(card, weights, settings, TorchPanoptic)
    if entry.fitted_by != "others":
        # Here, so that whoever only reads cards does not wait for torch.
        from models.predictors.networks import load_torch_predictor

        return load_torch_predictor(card, weights, settings)
    program: _Program = import_module(entry.module)
    return program.load(card, weights, settings)
