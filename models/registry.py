"""From names to cards and the folders of their weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.card import Card, load_card
from models.catalogue import CATALOGUE, FAMILIES, nearest
from models.classical.card import classical_card
from models.classical.settings import ARGUMENTS
from models.errors import CardError, UnknownModelError, WeightsError
from models.extensions import PREDICTORS, extensions
from models.foreign.folder import convert
from models.plain import require_plain
from models.predictors.added import added_card
from models.predictors.fakes import FAKES, fake_card
from models.predictors.loading import load_predictor
from models.run_settings import RunSettings

ZOO = Path(__file__).parent / "zoo"
# What weights and programs are called.
WEIGHTS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".onnx")


def zoo_cards() -> dict[str, Card]:
    """Return the cards of all shipped models by name."""
    cards = (load_card(path) for path in sorted(ZOO.glob("*.json")))
    return {card.name: card for card in cards}


def is_without_weights(name: str) -> bool:
    """Tell whether a model's card is made from what a job says: a method without weights, or one of another package."""
    return name in FAKES or name in ARGUMENTS or name in extensions(PREDICTORS)


def card_without_weights(name: str, arguments: Mapping[str, Any], bands: tuple[str, ...], kind: str) -> Card:
    """Describe a model without weights.

    Args:
        name: Of the method.
        arguments: As the job gives them.
        bands: Names of what the job says that a scene holds.
        kind: ``raster`` or ``volume``.

    Raises:
        CardError: When the arguments do not fit.
        ExpressionError: When a feature cannot be parsed.
        ExtensionError: When what another package adds cannot be used.
    """
    if name in extensions(PREDICTORS):
        return added_card(name, arguments, bands, kind)
    make = fake_card if name in FAKES else classical_card
    return make(name, arguments, bands, kind)


def is_named(name_or_path: str) -> bool:
    """Tell whether a model is meant by its name: it goes before a folder of that name in the working directory."""
    return is_without_weights(name_or_path) or name_or_path in _zoo_names()


def resolve_model(name_or_path: str, sha256: str | None = None) -> tuple[Card, Path | None]:
    """Find a model's card and the folder of its weights.

    Args:
        name_or_path: A name in the zoo, a card ``.json``, a file of weights, TorchScript or ONNX with a card of the
            same name beside it, or a folder that another program wrote (``models.foreign``).
        sha256: What the weights' hash has to be, where a job insists.

    Returns:
        The card and its folder; None in place of the folder for a card without weights.

    Raises:
        UnknownModelError: When there is no such model.
        CardError: When the card cannot be read or belongs to other weights.
        WeightsError: When the card's hash is not ``sha256``, or reading the weights would run code.
    """
    path = _card_path(name_or_path)
    card = load_card(path)
    if name_or_path.endswith(WEIGHTS) and (card.weights is None or card.weights.file != Path(name_or_path).name):
        raise CardError(f"{path}: the card does not belong to {Path(name_or_path).name}; name it under weights.file")
    stated = None if card.weights is None else card.weights.sha256
    if sha256 is not None and sha256.lower() != stated:
        raise WeightsError(f"{card.name}: the job asks for SHA-256 {sha256}, the card states {stated}")
    return card, None if card.weights is None else path.parent


def _card_path(name_or_path: str) -> Path:
    path = Path(name_or_path)
    match path.suffix:
        case ".json":
            return path
        case ".pkl" | ".pickle":
            raise WeightsError(f"{path.name}: pickles can run code and are not read; convert to .safetensors")
        case suffix if suffix in WEIGHTS:
            if not path.is_file():
                raise WeightsError(f"{path}: no such file. Check the path")
            if not path.with_suffix(".json").is_file():
                raise CardError(
                    f"{path}: there is no card {path.with_suffix('.json').name} beside it, and weights do not say what "
                    f"they take and give. For ONNX and TorchScript swathe card {path} writes one; for other weights "
                    "write it by hand (docs/models.md, Bring your own model)"
                )
            return path.with_suffix(".json")
    known = _zoo_names()
    if name_or_path in known:
        return ZOO / f"{name_or_path}.json"
    if path.is_dir():
        return convert(path)
    raise _unknown(name_or_path, known)


def _zoo_names() -> set[str]:
    return {card.stem for card in ZOO.glob("*.json")}


def _unknown(name: str, shipped: set[str]) -> UnknownModelError:
    if name in CATALOGUE or name.partition(":")[0] in FAMILIES:
        return UnknownModelError(
            f"model {name!r}: a network without weights. Fit it with swathe train, or give the path of a card or of "
            "weights"
        )
    known = {*shipped, *FAKES, *ARGUMENTS, *extensions(PREDICTORS)}
    return UnknownModelError(
        f"model {name!r} is not known{nearest(name, known)}; or give the path of a card (.json), "
        f"of weights ({', '.join(WEIGHTS)}) with a card beside them, or of a folder that another program wrote"
    )


def require_weights(card: Card, card_dir: Path | None) -> None:
    """See that the weights of a card lie there as a plain file: what can be known before a worker reads them.

    Raises:
        WeightsError: When they do not.
    """
    if card_dir is None or card.weights is None:
        return
    path = card_dir / card.weights.file
    try:
        require_plain(path, path.stat())
    except OSError as error:
        raise WeightsError(f"{path.name}: the weights cannot be read: {error.strerror}") from error


def verify_model(card: Card, card_dir: Path | None) -> None:
    """Load a model once, to see whether its weights are those of its card; shipped ones were seen by the tests.

    Raises:
        ModelError: When they are not, as ``load_predictor`` does.
    """
    if card_dir is not None and card_dir.resolve() != ZOO:
        load_predictor(card, card_dir, RunSettings(tile=card.tiling.tile, device="cpu"))
