"""The cards of classical methods: made from a job's arguments, completed by a fit."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from models.card import Card, ClassEntry, Network, NoNormalization, Tiling
from models.classical.expression import Expression, parse_expression
from models.classical.predictor import MixturePredictor, NearestPredictor, ThresholdPredictor, pixelwise
from models.classical.settings import (
    ARGUMENTS,
    Arguments,
    Centres,
    Fitted,
    FittedArguments,
    MeanShiftArguments,
    Mixture,
    OtsuArguments,
    ThresholdArguments,
    Thresholds,
)
from models.errors import CardError
from models.predictor import Predictor, PredictorSpec
from models.validation import explained

# What looks at pixels one by one costs little: large enough to be quick, small enough that a scene has several tiles.
_TILES = {2: (512, 512), 3: (64, 64, 64)}
_TITLES = {
    "threshold": "Threshold",
    "otsu": "Otsu's thresholds",
    "kmeans": "K-means",
    "gaussian-mixture": "Gaussian mixture",
    "mean-shift": "Mean shift",
}
_GOLDEN = 0.618034


def classical_card(name: str, arguments: Mapping[str, Any], bands: tuple[str, ...], kind: str) -> Card:
    """Describe a method as a model, for scenes with these bands.

    Args:
        name: A key of ``ARGUMENTS``.
        arguments: As the job gives them.
        bands: Names of what the job says that a scene holds; features may name others, too.
        kind: ``raster`` or ``volume``.

    Returns:
        A card; without classes where only the fit can tell how many there are.

    Raises:
        CardError: When the arguments do not fit the method.
        ExpressionError: When a feature cannot be parsed.
    """
    ndim = 2 if kind == "raster" else 3
    given: dict[str, Any] = {"ndim": ndim, **arguments}
    if name != "threshold":
        given.setdefault("features", bands)
    elif "features" not in given:
        given["n_channels"] = len(bands)
    parsed = _parse(name, given)
    expressions = [parse_expression(text, bands) for text in parsed.features]
    channels = tuple(dict.fromkeys(band for found in expressions for band in found.bands)) or bands
    if ndim == 3 and len(channels) != 1:
        raise CardError(f"{name!r}: a volume has one channel; the features name {', '.join(channels)}. Name one")
    zeros = (0,) * ndim
    return Card(
        name=name,
        title=_title(name, parsed),
        kind="raster" if ndim == 2 else "volume",
        network=Network(name=name, arguments=parsed.model_dump(mode="json", exclude_unset=name == "threshold")),
        channels=channels,
        classes=_classes(parsed),
        normalization=NoNormalization(),
        tiling=Tiling(tile=_TILES[ndim], halo=zeros, overlap=zeros, disagreement=0.0),
        licence="Apache-2.0",
        origin="swathe",
        orientation=None if ndim == 2 else "SAR",
    )


def fit_arguments(card: Card) -> FittedArguments | None:
    """Return what a card tells of the fit that it still needs; None where it needs none."""
    if card.network.name not in ARGUMENTS:
        return None
    parsed = _parse(card.network.name, card.network.arguments)
    return parsed if isinstance(parsed, FittedArguments) and parsed.fitted is None else None


def is_fitted(card: Card) -> bool:
    """Tell whether a card holds numbers that a scene gave it."""
    return card.network.name in ARGUMENTS and card.network.arguments.get("fitted") is not None


def completed(card: Card, fitted: Fitted, origin: str) -> Card:
    """Return a card that segments any scene as the one that it was fitted to.

    Args:
        card: Not yet fitted.
        fitted: The numbers.
        origin: What was fitted to what, without names.
    """
    arguments = card.network.arguments | {"fitted": fitted.model_dump(mode="json")}
    parsed = _parse(card.network.name, arguments)
    network = Network(name=card.network.name, arguments=arguments)
    classes = _classes(parsed)
    title = _title(card.network.name, parsed)
    return card.model_copy(update={"network": network, "classes": classes, "title": title, "origin": origin})


def card_features(card: Card) -> tuple[Expression, ...]:
    """Return what the predictor is given in place of the scene's channels; nothing where they stay as they are.

    Raises:
        CardError: When a feature names a band that the card does not.
        ExpressionError: When a feature cannot be parsed.
    """
    if card.network.name not in ARGUMENTS:
        return ()
    texts = _parse(card.network.name, card.network.arguments).features
    expressions = tuple(parse_expression(text, card.channels) for text in texts)
    for expression in expressions:
        if unknown := [band for band in expression.bands if band not in card.channels]:
            raise CardError(
                f"{card.name}: the feature {expression.text!r} names {', '.join(unknown)}; its channels are "
                f"{', '.join(card.channels)}. Mend network.arguments.features or channels"
            )
    return expressions


def sees_place(card: Card) -> bool:
    """Tell whether the predictor is given where a pixel lies, too: behind its features, in pixels along each axis."""
    if card.network.name not in ARGUMENTS:
        return False
    parsed = _parse(card.network.name, card.network.arguments)
    return isinstance(parsed, MeanShiftArguments) and parsed.place is not None


def card_spec(card: Card) -> PredictorSpec:
    """Say what the method needs and gives; before the fit its classes may be none."""
    parsed = _parse(card.network.name, card.network.arguments)
    if isinstance(parsed, FittedArguments):
        return pixelwise(parsed.n_inputs, card.n_classes, parsed.ndim)
    n_channels = parsed.n_channels if isinstance(parsed, ThresholdArguments) else len(parsed.features)
    return pixelwise(n_channels, card.n_classes, parsed.ndim)


def load(card: Card) -> Predictor:
    """Make ready what a card describes.

    Raises:
        CardError: When its arguments do not fit, it was not fitted yet, or it asks for what these methods do not do.
    """
    parsed = _parse(card.network.name, card.network.arguments)
    if not isinstance(card.normalization, NoNormalization) or card.spacing_mm is not None or card.position:
        raise CardError(f"{card.name}: takes values as they are; leave out normalization, spacing_mm and position")
    if isinstance(parsed, ThresholdArguments):
        return ThresholdPredictor(_plain(parsed.thresholds), parsed.channel, parsed.n_channels, parsed.ndim)
    match parsed.fitted if isinstance(parsed, FittedArguments) else None:
        case Thresholds(thresholds=thresholds):
            return ThresholdPredictor(_plain(thresholds), ndim=parsed.ndim)
        case Centres() as centres:
            return NearestPredictor(centres, parsed.ndim)
        case Mixture() as mixture:
            return MixturePredictor(mixture, parsed.ndim)
    raise CardError(f"{card.name}: not fitted to a scene yet; take the model.json of a product")


def _plain(thresholds: tuple[float, ...]) -> float | tuple[float, ...]:
    return thresholds if len(thresholds) > 1 else thresholds[0]


def _parse(name: str, arguments: Mapping[str, Any]) -> Arguments:
    try:
        return ARGUMENTS[name].model_validate(arguments)
    except ValidationError as error:
        wrong = explained(error, ARGUMENTS[name])
        raise CardError(f"arguments of {name!r} do not fit: {wrong}. See docs/models.md for what there is") from error


def _classes(parsed: Arguments) -> tuple[ClassEntry, ...]:
    count = parsed.n_classes
    usual = _usual_classes(parsed, count)
    named = zip(parsed.names or (entry.name for entry in usual), usual, strict=True)
    return tuple(ClassEntry(name=name, colour=entry.colour) for name, entry in named)


def _usual_classes(parsed: Arguments, count: int) -> tuple[ClassEntry, ...]:
    if not isinstance(parsed, ThresholdArguments | OtsuArguments):
        return tuple(ClassEntry(name=f"cluster {k + 1}", colour=_hue(k)) for k in range(count))
    names = ("below", "above") if count == 2 else tuple(f"level {k + 1}" for k in range(count))
    return tuple(ClassEntry(name=name, colour=_heat(k / (count - 1))) for k, name in enumerate(names))


def _heat(share: float) -> str:
    """From grey to red."""
    ends = zip((0xD9, 0xD9, 0xD9), (0xD7, 0x30, 0x1F), strict=True)
    return "#" + "".join(f"{round(low + (high - low) * share):02x}" for low, high in ends)


def _hue(number: int) -> str:
    """Colours that follow each other lie far apart on the wheel, and none comes twice."""
    value = (0.9, 0.7, 0.5)[number % 3]
    parts = colorsys.hsv_to_rgb((0.08 + number * _GOLDEN) % 1, 0.55 + 0.4 * (number % 2), value)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)


def _title(name: str, parsed: Arguments) -> str:
    count = f", {parsed.n_classes} classes" if parsed.n_classes else ""
    over = f" of {', '.join(parsed.features)}" if parsed.features else ""
    return f"{_TITLES[name]}{over}{count}"
