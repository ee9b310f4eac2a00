"""The checkpoints of nnU-Net v2, read without running code."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.card import Network
from models.errors import CardError, WeightsError
from models.networks.builders import build_network
from models.networks.nnunet import NnunetArguments, unet
from models.weights.state_dict import DAMAGED, load_plain, what_it_needs

# Scores and their history are NumPy numbers, which a pickle makes by these two functions.
_SCALAR, _ARRAY = np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]
_NUMBERS: list[Any] = [
    np.dtype,
    np.ndarray,
    _SCALAR,
    _ARRAY,
    # As NumPy before version 2 called them.
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_ARRAY, "numpy.core.multiarray._reconstruct"),
    *(type(np.dtype(name)) for name in ("float16", "float32", "float64", "int32", "int64", "bool")),
]


@dataclass(frozen=True, kw_only=True)
class Folds:
    """What the checkpoints of one result folder say.

    Attributes:
        names: Of the files, for messages.
        weights: State dict of each fold.
        trainer: Class that fitted them.
        configuration: Of the plans.
        mirror_axes: Axes along which a fold may be mirrored.
    """

    names: tuple[str, ...]
    weights: tuple[dict[str, Tensor], ...]
    trainer: str
    configuration: str
    mirror_axes: tuple[int, ...]


def read_checkpoints(paths: tuple[Path, ...]) -> Folds:
    """Read the folds of one result folder.

    Raises:
        WeightsError: When a file is damaged, or reading it would run code.
        CardError: When folds do not belong together.
    """
    found = [_read(path) for path in paths]
    names = tuple(f"{path.parent.name}/{path.name}" for path in paths)
    try:
        # nnU-Net itself takes all but the weights from the first fold.
        first = found[0]
        facts = [(str(fold["trainer_name"]), str(fold["init_args"]["configuration"])) for fold in found]
        axes = tuple(int(axis) for axis in first.get("inference_allowed_mirroring_axes") or ())
        weights = tuple({_plain(name): value for name, value in fold["network_weights"].items()} for fold in found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"{names[0]}: no checkpoint of nnU-Net v2: {error} is missing or of another kind") from error
    if len(set(facts)) > 1:
        raise CardError(f"the folds were fitted by different trainers or configurations: {sorted(set(facts))}")
    trainer, configuration = facts[0]
    return Folds(names=names, weights=weights, trainer=trainer, configuration=configuration, mirror_axes=axes)


def _plain(name: str) -> str:
    # Training on several GPUs puts this before every name.
    return name.removeprefix("module.")


def _read(path: Path) -> dict[str, Any]:
    try:
        with torch.serialization.safe_globals(_NUMBERS):
            content = load_plain(path)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path.parent.name}/{path.name}: a pickle that needs more than numbers to be read "
            f"({what_it_needs(str(error))}); it could run code and is not read. Where you trust it, convert it: "
            "c = torch.load(FILE, weights_only=False); "
            "torch.save({k: c[k] for k in ('network_weights', 'trainer_name', 'inference_allowed_mirroring_axes')} | "
            "{'init_args': {'configuration': c['init_args']['configuration']}}, FILE)"
        ) from error
    except (OSError, *DAMAGED) as error:
        raise WeightsError(f"{path.parent.name}/{path.name}: cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path.parent.name}/{path.name}: no checkpoint of nnU-Net v2")
    return content


def fold_weights(folds: Folds, network: Network, n_channels: int, n_classes: int) -> dict[str, Tensor]:
    """Return the weights of all folds under the names of the network that holds them.

    Raises:
        CardError: When the plans' network cannot be built.
        WeightsError: When a fold has other names or shapes than the plans' network; the text names the first ones.
    """
    names = build_network(network, n_channels, n_classes).state_dict()
    expected = unet(n_channels, n_classes, NnunetArguments.model_validate(network.arguments)).state_dict()
    weights: dict[str, Tensor] = {}
    for number, (name, found) in enumerate(zip(folds.names, folds.weights, strict=True)):
        _require_fit(name, found, expected)
        weights |= {f"folds.{number}.{key}": value for key, value in found.items()}
    # Each layer stands in a checkpoint under several names.
    return {key: weights[key] for key in names}


def _require_fit(name: str, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    differing = sorted(found.keys() ^ expected.keys())
    if differing:
        raise WeightsError(
            f"{name}: not the weights of the network in plans.json: {len(differing)} names are in one of them only, "
            f"the first {differing[:3]}"
        )
    for key, value in expected.items():
        if not isinstance(found[key], Tensor):
            raise WeightsError(f"{name}: {key} is a {type(found[key]).__name__}, no tensor")
        if found[key].shape != value.shape:
            raise WeightsError(
                f"{name}: {key} has shape {tuple(found[key].shape)}, the network in plans.json {tuple(value.shape)}"
            )
