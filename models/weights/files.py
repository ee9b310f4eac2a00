"""Reading and writing weights, verified before a single number is used and without running what they may hold."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from models.card import Card, Weights, write_card
from models.errors import WeightsError
from models.plain import read_plain
from models.weights.state_dict import unpickle_state_dict, without_prefix

_PICKLES = (b"PK\x03\x04", b"\x80")
_AUXILIARY = "aux_classifier."
# What ``torch.save`` is told to write; read without running code.
PICKLE_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")


def read_weights(path: Path, sha256: str, network: nn.Module) -> dict[str, Tensor]:
    """Read weights for a network.

    Args:
        path: A ``.safetensors`` file, or a state dict that ``torch.save`` wrote.
        sha256: Of the file, as the card states it.
        network: Whose names and shapes they must have.

    Returns:
        A state dict; floats are float32 whatever they were stored in.

    Raises:
        WeightsError: When the file is not there, could run code, is damaged, or is not what the card or the network
            say.
    """
    try:
        content = read_plain(path)
    except OSError as error:
        raise WeightsError(f"{path.name}: the weights cannot be read: {error.strerror}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise WeightsError(
            f"{path.name}: SHA-256 is {found}, the card states {sha256}; fetch the weights again or mend the card"
        )
    expected = network.state_dict()
    tensors = _without_auxiliary(without_prefix(parse_weights(path, content), expected), expected)
    _verify(path.name, tensors, expected)
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def parse_weights(path: Path, content: bytes) -> dict[str, Tensor]:
    """Return the tensors of a file by name.

    Raises:
        WeightsError: When the file is damaged, of another format than its name says, or reading it would run code.
    """
    if path.suffix in PICKLE_SUFFIXES:
        return unpickle_state_dict(path.name, content)
    # The first eight bytes are the header's length, and may be any; the header begins with a brace.
    pickled = content.startswith(_PICKLES) and content[8:9] != b"{"
    if path.suffix != ".safetensors" or pickled:
        raise WeightsError(f"{path.name}: not safetensors; a pickle can run code and is not read. Convert it")
    try:
        tensors: dict[str, Tensor] = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise WeightsError(f"{path.name}: damaged, or not safetensors: {error}") from error
    return tensors


def _without_auxiliary(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out the head that torchvision's networks have for training alone."""
    return {name: value for name, value in found.items() if name in expected or not name.startswith(_AUXILIARY)}


def _verify(file: str, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    missing, surplus = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or surplus:
        raise WeightsError(
            f"{file}: not the weights of this network: missing {missing[:3]} ({len(missing)}), "
            f"unknown {surplus[:3]} ({len(surplus)}); is network.name right?"
        )
    for name, value in expected.items():
        if found[name].shape != value.shape:
            raise WeightsError(
                f"{file}: {name} has shape {tuple(found[name].shape)}, the network needs {tuple(value.shape)}; "
                "compare network.arguments, channels and classes of the card"
            )
        if found[name].is_floating_point() != value.is_floating_point():
            raise WeightsError(f"{file}: {name} is {found[name].dtype}, the network needs {value.dtype}")
        if value.is_floating_point() and not bool(found[name].isfinite().all()):
            raise WeightsError(f"{file}: {name} holds NaN or infinity; the fit has failed")


def write_model(directory: Path, card: Card, state_dict: dict[str, Tensor], dtype: torch.dtype = torch.float16) -> Card:
    """Write weights and then their card, each in one atomic step.

    Args:
        directory: Where; files are named after the card.
        card: Its ``weights`` is filled in.
        state_dict: The weights.
        dtype: Floats are stored in it where it holds them: float32 for weights that others fitted, so that not a bit
            of them is lost.

    Returns:
        The card as written.

    Raises:
        WeightsError: When a weight is not finite.
    """
    content = save({name: _stored(name, value, dtype) for name, value in sorted(state_dict.items())})
    file = f"{card.name}.safetensors"
    written = card.model_copy(update={"weights": Weights(file=file, sha256=hashlib.sha256(content).hexdigest())})
    directory.mkdir(parents=True, exist_ok=True)
    partial = directory / f".{card.name}.partial"
    partial.write_bytes(content)
    partial.replace(directory / file)
    write_card(written, partial)
    partial.replace(directory / f"{card.name}.json")
    return written


def _stored(name: str, value: Tensor, dtype: torch.dtype) -> Tensor:
    # A copy: where a network calls a layer by two names both are there, and safetensors takes no shared memory.
    if not value.is_floating_point():
        return value.detach().cpu().contiguous().clone()
    exact = value.detach().cpu().contiguous()
    if not bool(exact.isfinite().all()):
        raise WeightsError(f"{name}: holds NaN or infinity; the fit has failed")
    stored = exact.to(dtype, copy=True)
    # A running variance may be larger than float16 reaches, and the network none the worse.
    return stored if bool(stored.isfinite().all()) else exact.clone()
