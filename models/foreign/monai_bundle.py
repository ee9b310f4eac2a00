"""MONAI bundles: network, weights, transforms and inferer of ``inference.json`` become a card and weights of ours."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from models.card import Card, CentredResampling, ClassEntry, Network
from models.errors import CardError
from models.foreign.colours import class_colour
from models.foreign.monai_config import Component, Config, read_config
from models.foreign.monai_inferer import map_inferer
from models.foreign.monai_postprocessing import Postprocessing, map_postprocessing
from models.foreign.monai_preprocessing import map_preprocessing
from models.plain import read_plain
from models.validation import explained

NAME = "MONAI bundle"
_INFERENCE = ("inference.json", "inference.yaml", "inference.yml")
_WEIGHTS = ("model.safetensors", "model.pt")
_LICENCE = "LICENSE"
_LIBRARY = "monai.networks.nets"
_AXES = ("spatial_dims", "dimensions")


def is_folder(path: Path) -> bool:
    """Tell by names of files alone whether a folder is of this kind."""
    configs = path / "configs"
    return (configs / "metadata.json").is_file() and any((configs / name).is_file() for name in _INFERENCE)


def files(path: Path) -> tuple[Path, ...]:
    """Return metadata, inference configuration, weights, and the licence where there is one.

    Raises:
        CardError: When there are no weights.
    """
    configs, models = path / "configs", path / "models"
    inference = next(configs / name for name in _INFERENCE if (configs / name).is_file())
    weights = [models / name for name in _WEIGHTS if (models / name).is_file()]
    if not weights:
        raise CardError(
            f"{path}: there is none of {', '.join(f'models/{name}' for name in _WEIGHTS)}; bundles come without "
            "their large files, fetch them first"
        )
    licence = path / _LICENCE
    return configs / "metadata.json", inference, weights[0], *([licence] if licence.is_file() else [])


def write(path: Path, out: Path) -> None:
    """Write the card and the weights into the empty folder ``out``.

    Raises:
        CardError: When something of the bundle cannot be mapped; the text names it.
        WeightsError: When the weights are not those of the network, or reading them would run code.
    """
    import torch

    from models.networks.builders import build_network
    from models.weights.files import read_weights, write_model

    metadata_file, inference_file, weights_file, *_ = files(path)
    config = Config(read_config(inference_file), inference_file.name)
    try:
        card = _card(path, read_config(metadata_file), config)
    except ValidationError as error:
        raise CardError(f"{path}: what {inference_file.name} says makes no card: {explained(error, Card)}") from error
    network = build_network(card.network, card.n_channels, card.n_outputs)
    weights = read_weights(weights_file, hashlib.sha256(read_plain(weights_file)).hexdigest(), network)
    described = card.model_copy(update={"parameters": sum(p.numel() for p in network.parameters())})
    write_model(out, described, weights, torch.float32)


def _card(path: Path, metadata: Mapping[str, Any], config: Config) -> Card:
    network, n_channels, n_outputs = _network(config.named("network_def"))
    before = map_preprocessing(config.steps("preprocessing"), n_channels)
    after = map_postprocessing(config.steps("postprocessing"))
    title = str(metadata.get("name") or path.resolve().name)
    version = metadata.get("version")
    resampling = None if before.spacing_mm is None else CentredResampling(kind="centred", back=after.back or "labels")
    return Card(
        name=re.sub(r"[^a-z0-9._-]", "-", path.resolve().name.lower()).lstrip("._-") or "bundle",
        title=title,
        kind="volume",
        network=network.model_copy(update={"output": _output(after, n_outputs)}),
        channels=tuple(_names(metadata, "inputs", "image", n_channels, "channel")),
        classes=_classes(metadata, n_outputs),
        normalization=before.normalization,
        tiling=map_inferer(config.named("inferer")),
        licence=_licence(path, metadata),
        origin=f"{title}{'' if version is None else f' {version}'}, a MONAI bundle",
        orientation=before.orientation,
        spacing_mm=before.spacing_mm,
        resampling=resampling,
    )


def _network(described: Component) -> tuple[Network, int, int]:
    """Return the network, its channels, and what it gives."""
    module = described.target.rpartition(".")[0]
    if module and not (module + ".").startswith(f"{_LIBRARY}."):
        raise CardError(
            f"network_def builds {described.target!r}, which is code of the bundle and not of {_LIBRARY}; export the "
            "network to TorchScript or ONNX"
        )
    arguments = {name: described.take(name) for name in described.arguments}
    axes = next((arguments[name] for name in _AXES if name in arguments), 3)
    if axes != 3:
        raise CardError(f"network_def has {axes} axes; bundles of volumes alone are mapped")
    counts = []
    for name in ("in_channels", "out_channels"):
        if not isinstance(arguments.get(name), int):
            raise CardError(f"network_def does not state {name}, and cannot be mapped")
        counts.append(arguments.pop(name))
    return Network(name=f"monai:{described.name}", arguments=arguments), counts[0], counts[1]


def _output(after: Postprocessing, n_outputs: int) -> str:
    if after.activation == "sigmoid" or after.discrete == "threshold":
        if n_outputs == 1 and after.activation == "sigmoid" and after.discrete == "threshold":
            return "logit"
        raise CardError(
            f"postprocessing: {n_outputs} channels, activation {after.activation}, labels by {after.discrete}: classes "
            "that may overlap, which one mask cannot hold. Mapped are softmax and argmax, or one channel, sigmoid and "
            "a threshold"
        )
    if n_outputs == 1:
        raise CardError("network_def gives one channel without a sigmoid: that is not a segmentation")
    return "logits"


def _classes(metadata: Mapping[str, Any], n_outputs: int) -> tuple[ClassEntry, ...]:
    names = _names(metadata, "outputs", "pred", n_outputs, "class")
    names = names if n_outputs > 1 else ["background", *names]
    return tuple(ClassEntry(name=name, colour=class_colour(number)) for number, name in enumerate(names))


def _names(metadata: Mapping[str, Any], side: str, key: str, count: int, otherwise: str) -> list[str]:
    """Return the names of channels as ``network_data_format`` gives them, numbered ones where it does not."""
    described: Any = metadata
    for part in ("network_data_format", side, key, "channel_def"):
        described = described.get(part) if isinstance(described, Mapping) else None
    if not isinstance(described, Mapping):
        return [f"{otherwise} {number}" for number in range(count)]
    if len(described) != count:
        raise CardError(
            f"metadata.json names {len(described)} channels of {key} ({', '.join(map(str, described.values()))}), "
            f"network_def has {count}; mend one of them"
        )
    return [str(described.get(str(number), f"{otherwise} {number}")) for number in range(count)]


def _licence(path: Path, metadata: Mapping[str, Any]) -> str:
    if stated := metadata.get("license") or metadata.get("licence"):
        return str(stated)
    return "as in the bundle's LICENSE" if (path / _LICENCE).is_file() else "not stated in metadata.json"
