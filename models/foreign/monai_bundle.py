"""MONAI bundles: network, weights, transforms and inferer of ``inference.json`` become a card and weights of ours."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from models.card import Card, CentredResampling, ClassEntry, Network, Regions
from models.errors import CardError
from models.foreign.colours import class_colour
from models.foreign.monai_config import Component, Config, read_config
from models.foreign.monai_inferer import map_inferer
from models.foreign.monai_postprocessing import Postprocessing, map_postprocessing
from models.foreign.monai_preprocessing import map_preprocessing
from models.plain import read_plain
from models.quantities import QuantityName
from models.validation import explained

NAME = "MONAI bundle"
_INFERENCE = ("inference.json", "inference.yaml", "inference.yml")
_WEIGHTS = ("model.safetensors", "model.pt")
_LICENCE = "LICENSE"
_LIBRARY = "monai.networks.nets"
_AXES = ("spatial_dims", "dimensions")
# What arguments were called before, and those that are no longer told: by MONAI's own names.
_RENAMED = {"dimensions": "spatial_dims", "pos_embed": "proj_type"}
_DROPPED = {"img_size"}
_PROGRAM = "model.ts"
_HOUNSFIELD: QuantityName = "HU"
_Of = TypeVar("_Of")


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
    if not weights and (models / _PROGRAM).is_file():
        raise CardError(
            f"{path}: holds models/{_PROGRAM} alone, which is TorchScript, a program of its own. Name that file and "
            "write a card for it (docs/models.md), or save the state dict of the network as models/model.pt"
        )
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
    _require_evaluator(config)
    network, n_channels, n_outputs, n_axes = _network(config.named("network_def"))
    before = map_preprocessing(config.steps("preprocessing"), n_channels)
    after = map_postprocessing(config.steps("postprocessing"))
    tiling, across = map_inferer(config.named("inferer"))
    if (n_axes == 2) != (across is not None):
        raise CardError(
            f"network_def has {n_axes} axes, and the inferer is {config.named('inferer').name}: mapped are bundles of "
            "volumes, whose network has three axes, or two and a SliceInferer"
        )
    title = str(metadata.get("name") or path.resolve().name)
    version = metadata.get("version")
    resampling = None
    if before.spacing_mm is not None or before.foreground is not None:
        back = after.back or "labels"
        resampling = CentredResampling(kind="centred", back=back, foreground=before.foreground)
    return Card(
        name=re.sub(r"[^a-z0-9._-]", "-", path.resolve().name.lower()).lstrip("._-") or "bundle",
        title=title,
        kind="volume",
        network=Network(
            name=network.name,
            arguments=network.arguments,
            output=_output(after, n_outputs),
            regions=_regions(after, n_outputs),
        ),
        channels=tuple(_names(metadata, "inputs", key="image", count=n_channels, otherwise="channel")),
        quantities=(_HOUNSFIELD,) * n_channels if _is_hounsfield(metadata) else (),
        classes=_classes(metadata, n_outputs, after),
        normalization=before.normalization,
        tiling=tiling,
        licence=_licence(path, metadata),
        origin=f"{title}{'' if version is None else f' {version}'}, a MONAI bundle",
        orientation="".join(_slices_first(before.orientation, across)),
        spacing_mm=None if before.spacing_mm is None else _slices_first(before.spacing_mm, across),
        resampling=resampling,
        largest=tuple(range(1, max(n_outputs, 2))) if after.largest is None else after.largest,
    )


def _require_evaluator(config: Config) -> None:
    """Refuse bundles that are run by code of their own, or by several networks."""
    if not config.has("evaluator"):
        return
    evaluator = config.named("evaluator")
    if evaluator.name != "SupervisedEvaluator" or not evaluator.is_monais:
        raise CardError(
            f"evaluator is {evaluator.target!r}, which is not run: mapped are bundles of one network whose "
            "evaluator is MONAI's SupervisedEvaluator"
        )


def _slices_first(axes: Sequence[_Of], across: int | None) -> tuple[_Of, _Of, _Of]:
    """Put the axis across slices first, as the tiling has it."""
    order = (0, 1, 2) if across is None else (across, *(axis for axis in range(3) if axis != across))
    first, second, third = (axes[axis] for axis in order)
    return first, second, third


def _network(described: Component) -> tuple[Network, int, int, int]:
    """Return the network, its channels, what it gives, and how many axes it has."""
    module = described.target.rpartition(".")[0]
    if module and not (module + ".").startswith(f"{_LIBRARY}."):
        raise CardError(
            f"network_def builds {described.target!r}, which is code of the bundle and not of {_LIBRARY}; export the "
            "network to TorchScript or ONNX"
        )
    where = described.where
    if built := [name for name, raw in described.arguments.items() if described.config.is_component(raw, where)]:
        raise CardError(
            f"network_def takes {', '.join(built)}, which the bundle builds when it runs; export the network to "
            "TorchScript or ONNX"
        )
    arguments = {name: described.take(name) for name in described.arguments}
    axes = next((arguments[name] for name in _AXES if name in arguments), 3)
    counts = []
    for names in (("in_channels",), ("out_channels", "num_classes")):
        name = next((name for name in names if isinstance(arguments.get(name), int)), None)
        if name is None:
            raise CardError(f"network_def does not state {names[0]}, and cannot be mapped")
        counts.append(arguments.pop(name))
    network = Network(name=f"monai:{described.name}", arguments=_current(described.name, arguments))
    return network, counts[0], counts[1], axes


def _current(network: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return arguments under the names that they have now."""
    from models.networks.library import constructors, own_parameters

    kind = constructors("monai").get(network)
    if kind is None:
        # Whoever builds it says that there is none.
        return arguments
    known = own_parameters(kind)
    found = {}
    for name, value in arguments.items():
        now = _RENAMED.get(name, name) if name not in known else name
        if now in known or name not in _DROPPED:
            found[now] = value
    return found


def _regions(after: Postprocessing, n_outputs: int) -> Regions | None:
    if after.regions is None:
        return None
    if sorted(after.regions) != list(range(n_outputs)):
        raise CardError(
            f"postprocessing makes classes of channels {sorted(after.regions)}, and network_def has {n_outputs}"
        )
    classes = tuple(after.regions[channel] for channel in range(n_outputs))
    return Regions(classes=classes, order=tuple(after.regions))


def _output(after: Postprocessing, n_outputs: int) -> Literal["logits", "logit", "regions"]:
    if after.regions is not None:
        if after.activation != "sigmoid":
            raise CardError("postprocessing makes classes of channels without a sigmoid, which cannot be mapped")
        return "regions"
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


def _classes(metadata: Mapping[str, Any], n_outputs: int, after: Postprocessing) -> tuple[ClassEntry, ...]:
    names = _names(metadata, "outputs", key="pred", count=n_outputs, otherwise="class")
    if after.regions is not None:
        labels = {label: names[channel] for channel, label in after.regions.items()}
        names = [labels.get(label, f"class {label}") for label in range(1, max(labels) + 1)]
    if after.regions is not None or n_outputs == 1:
        names = ["background", *names]
    return tuple(ClassEntry(name=name, colour=class_colour(number)) for number, name in enumerate(names))


def _described(metadata: Mapping[str, Any], side: str, key: str) -> Mapping[str, Any]:
    described: Any = metadata
    for part in ("network_data_format", side, key):
        described = described.get(part) if isinstance(described, Mapping) else None
    return described if isinstance(described, Mapping) else {}


def _is_hounsfield(metadata: Mapping[str, Any]) -> bool:
    """Tell whether the image is said to hold Hounsfield units; published bundles of MR say so by mistake."""
    image = _described(metadata, "inputs", "image")
    return image.get("format") == "hounsfield" and str(image.get("modality", "CT")).upper() == "CT"


def _names(metadata: Mapping[str, Any], side: str, key: str, count: int, otherwise: str) -> list[str]:
    """Return the names of channels as ``network_data_format`` gives them, numbered ones where it does not."""
    known = _described(metadata, side, key)
    described = known.get("channel_def") or known.get("label_def")
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
