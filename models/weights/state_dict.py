"""State dicts out of PyTorch's own files, without running what a pickle may hold."""

from __future__ import annotations

import io
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.errors import WeightsError

# Under these, training programs keep the weights beside their own state.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "network")
# What torch raises for bytes that are no file of its own.
DAMAGED = (
    AssertionError, AttributeError, EOFError, LookupError, OverflowError, RuntimeError, TypeError, ValueError,
    struct.error, zipfile.BadZipFile,
)  # fmt: skip
# Weights hardly compress.
_MOST_UNPACKED = 8
# Of DistributedDataParallel and of torch.compile, whichever was put round the other.
_PREFIXES = ("module.", "_orig_mod.", "module.")

_CONVERSION = """Where you trust the file, convert it with

    import torch
    from safetensors.torch import save_file

    found = torch.load({name!r}, map_location="cpu", weights_only=False)
    found = found.state_dict() if isinstance(found, torch.nn.Module) else found
    for wrapper in {wrappers!r}:
        inner = found.get(wrapper)
        inner = inner.state_dict() if isinstance(inner, torch.nn.Module) else inner
        found = inner if isinstance(inner, dict) else found
    tensors = {{key: value.detach().clone().contiguous() for key, value in found.items() if torch.is_tensor(value)}}
    save_file(tensors, {file!r})

and let weights.file and weights.sha256 of its card, where it has one, name {file} and the SHA-256 of that."""


def unpickle_state_dict(name: str, content: bytes) -> dict[str, Tensor]:
    """Read a state dict that ``torch.save`` wrote.

    Args:
        name: Of the file, for errors.
        content: Its bytes.

    Returns:
        Tensors by name, on the CPU; taken out of the dictionary that a training program put round them.

    Raises:
        WeightsError: When reading would run code (the text has the conversion to make), when the file is damaged, or
            when it holds something else than a state dict.
    """
    try:
        if _is_torchscript(content):
            raise WeightsError(f"{name}: a TorchScript program, no state dict; its card says network.name: torchscript")
        found = load_plain(io.BytesIO(content))
    except pickle.UnpicklingError as error:
        raise WeightsError(_refusal(name, str(error))) from error
    except DAMAGED as error:
        raise WeightsError(f"{name}: damaged, or no file of torch.save: {str(error).splitlines()[:1]}") from error
    return _tensors(name, found)


def load_plain(file: Path | io.BytesIO) -> object:
    """Read what ``torch.save`` wrote, onto the CPU, as long as it is tensors and plain values.

    Raises:
        pickle.UnpicklingError: When it is more than that.
        OSError: When it cannot be read; one of ``DAMAGED`` when it is no such file.
    """
    refuse_unpacking(file)
    with warnings.catch_warnings():
        # Of a protocol that it may not know: then it says so in an error.
        warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
        return torch.load(file, map_location="cpu", weights_only=True)


def refuse_unpacking(file: Path | io.BytesIO) -> None:
    """Refuse an archive that declares far more than its bytes: torch stores tensors as they are.

    Raises:
        ValueError: When it does.
        zipfile.BadZipFile: When it is a damaged archive.
    """
    declared = 0
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            declared = sum(entry.file_size for entry in archive.infolist())
    if not isinstance(file, Path):
        # Looking for an archive leaves it at its end.
        file.seek(0)
    n_bytes = file.stat().st_size if isinstance(file, Path) else file.getbuffer().nbytes
    if declared > _MOST_UNPACKED * n_bytes:
        raise ValueError(f"declares {declared} bytes and is {n_bytes} bytes long; built to do harm")


def _is_torchscript(content: bytes) -> bool:
    buffer = io.BytesIO(content)
    if not zipfile.is_zipfile(buffer):
        return False
    with zipfile.ZipFile(buffer) as archive:
        return any("/code/" in member or member.endswith("/constants.pkl") for member in archive.namelist())


def what_it_needs(told: str) -> str:
    """Return what a pickle asks for, out of what torch tells of its refusal."""
    wanted = re.search(r"GLOBAL ([\w.]+)|class ([\w.]+)", told)
    return f"it asks for {wanted[1] or wanted[2]}" if wanted else "it holds more than tensors"


def _refusal(name: str, told: str) -> str:
    file = f"{name.rpartition('.')[0] or name}.safetensors"
    conversion = _CONVERSION.format(name=name, wrappers=_WRAPPERS, file=file)
    return f"{name}: reading this pickle would run code ({what_it_needs(told)}), and it is not read. {conversion}"


def _tensors(name: str, found: object) -> dict[str, Tensor]:
    for wrapper in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    if not isinstance(found, Mapping) or not found:
        raise WeightsError(f"{name}: holds a {type(found).__name__}, no state dict; save model.state_dict()")
    others = {str(key): type(value).__name__ for key, value in found.items() if not isinstance(value, Tensor)}
    if others:
        told: dict[str, Any] = dict(list(others.items())[:3])
        raise WeightsError(f"{name}: no state dict: {told} are no tensors; save model.state_dict() alone")
    return {str(key): value for key, value in found.items()}


def without_prefix(tensors: dict[str, Tensor], own: Collection[str]) -> dict[str, Tensor]:
    """Take off what a training program put before all names, as long as none of them is the network's ``own``."""
    for prefix in _PREFIXES:
        if tensors.keys().isdisjoint(own) and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors
