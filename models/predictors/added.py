"""Predictors that other packages add: a class each, named by an entry point of the group ``swathe.predictors``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from models.card import Card
from models.errors import CardError, ExtensionError
from models.extensions import PREDICTORS, extensions
from models.predictor import ObjectPredictor, Predictor


@runtime_checkable
class PredictorClass(Protocol):
    """What a package adds: called with the job's ``model.arguments`` it gives a predictor, of objects or not."""

    def card(self, name: str, arguments: Mapping[str, Any], channels: tuple[str, ...], kind: str) -> Card:
        """Describe the predictor as a model; a static method of the class.

        Args:
            name: Of the model, which is that of the entry point; ``network.name`` of the card.
            arguments: As the job gives them; ``network.arguments`` of the card.
            channels: Names of what the job says that a scene holds.
            kind: ``raster`` or ``volume``.
        """
        ...


def added_card(name: str, arguments: Mapping[str, Any], channels: tuple[str, ...], kind: str) -> Card:
    """Return the card of a predictor that another package adds.

    Raises:
        ExtensionError: When it cannot be loaded or gives no card of its own.
    """
    card = _class(name).card(name, arguments, channels, kind)
    if card.network.name != name:
        raise ExtensionError(f"model '{name}' of {extensions(PREDICTORS)[name].origin}: its card names another network")
    return card


def load_added(card: Card) -> Predictor | ObjectPredictor:
    """Make ready a predictor that another package adds.

    Raises:
        ExtensionError: When it cannot be loaded.
        CardError: When the arguments do not fit.
    """
    name = card.network.name
    make: Any = _class(name)
    try:
        predictor = make(**card.network.arguments)
    except (TypeError, ValueError) as error:
        raise CardError(f"model '{name}': its arguments {card.network.arguments} do not fit: {error}") from error
    if not isinstance(predictor, Predictor | ObjectPredictor):
        raise ExtensionError(
            f"model '{name}' of {extensions(PREDICTORS)[name].origin}: lacks spec, or both of predict and detect"
        )
    return predictor


def _class(name: str) -> PredictorClass:
    extension = extensions(PREDICTORS)[name]
    found = extension.load()
    if not callable(found) or not isinstance(found, PredictorClass):
        raise ExtensionError(f"model '{name}' of {extension.origin}: {found!r} is no class with a card")
    return found
