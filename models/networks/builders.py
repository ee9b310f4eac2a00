"""From a card's network to the module that builds it; torch is imported then, not before."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from models.card import Network
from models.catalogue import find
from models.errors import CardError
from models.validation import explained

if TYPE_CHECKING:
    from torch import nn

    from models.networks.geometry import Geometry


class _NetworkModule(Protocol):
    """What every module of ``models.networks`` offers."""

    def build(self, n_channels: int, n_classes: int, arguments: Mapping[str, Any]) -> nn.Module: ...

    def geometry(self, arguments: Mapping[str, Any]) -> Geometry: ...


def _network_module(network: Network) -> _NetworkModule:
    entry = find(network.name)
    if entry.fitted_by != "training":
        raise CardError(f"{network.name!r} is no network that could be built or fitted; mend network.name in the card")
    module: _NetworkModule = import_module(entry.module)
    return module


def _arguments(network: Network) -> dict[str, Any]:
    given = find(network.name).given
    if said := sorted(given.keys() & network.arguments.keys()):
        raise CardError(f"the name {network.name!r} says {', '.join(said)}; leave it out of network.arguments")
    return {**given, **network.arguments}


def _with_card_error(network: Network, error: ValidationError) -> CardError:
    module = vars(import_module(find(network.name).module))
    # By its name: pydantic says of its model nothing else.
    model = module.get(error.title)
    return CardError(f"network {network.name!r}: its arguments do not fit: {explained(error, model)}")


def build_network(network: Network, n_channels: int, n_classes: int) -> nn.Module:
    """Build a network with random weights.

    Raises:
        UnknownModelError: When no network has that name; the text lists those that there are.
        CardError: When the arguments do not fit.
    """
    module = _network_module(network)
    try:
        return module.build(n_channels, n_classes, _arguments(network))
    except ValidationError as error:
        raise _with_card_error(network, error) from error


def network_geometry(network: Network) -> Geometry:
    """Return stride, receptive field and margin of a network.

    Raises:
        UnknownModelError: When no network has that name.
        CardError: When the arguments do not fit.
    """
    module = _network_module(network)
    try:
        return module.geometry(_arguments(network))
    except ValidationError as error:
        raise _with_card_error(network, error) from error
