"""The device: which one, what it can compute in, and whether a batch fits."""

from __future__ import annotations

import ctypes
import math
import platform
import resource
from pathlib import Path

import psutil
import torch
from torch import Tensor, nn

from models.errors import DeviceError

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_KEPT_BYTES = 2**30
_TOP_PAD_BYTES = 2**26

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def keep_memory() -> bool:
    """Keep glibc from returning memory to the kernel after every layer, which costs a third of the time in float32.

    Returns:
        Whether it was done; other C libraries are left alone.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _KEPT_BYTES), (_M_TOP_PAD, _TOP_PAD_BYTES))
    answers = [libc.mallopt(option, value) for option, value in settings]
    return answers == [1] * len(settings)


def choose_device(name: str) -> torch.device:
    """Return the device for ``auto``, ``cpu`` or ``cuda``.

    Raises:
        DeviceError: When it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu" or (name == "cuda" and torch.cuda.is_available()):
        return torch.device(name)
    raise DeviceError(f"device {name!r} is not there; take auto or cpu")


def supported_dtypes(device: torch.device) -> tuple[str, ...]:
    """Return the names of the dtypes that the device computes in at full speed."""
    if device.type == "cuda":
        return ("float32", "float16", "bfloat16") if torch.cuda.is_bf16_supported() else ("float32", "float16")
    # Elsewhere torch would emulate it, slower than float32.
    fast = _cpu_flags() & {"avx512_bf16", "amx_bf16", "bf16"}
    return ("float32", "bfloat16") if fast else ("float32",)


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text("ascii", "replace").lower().splitlines()
    except OSError:
        return set()
    described = next((line for line in lines if line.startswith(("flags", "features"))), "")
    return set(described.split())


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the torch dtype of a name.

    Raises:
        DeviceError: When the device does not compute in it.
    """
    supported = supported_dtypes(device)
    if name not in supported:
        raise DeviceError(f"device {device.type!r} does not compute in {name!r}; take one of {', '.join(supported)}")
    return _DTYPES[name]


def training_dtype(name: str, device: torch.device) -> str:
    """Return the precision of a fit: for ``auto`` bfloat16 on a GPU that has it and on a CPU with AMX, else float32.

    Other CPUs that know bfloat16 lack it for the gradients of convolutions: a step takes up to 70 times as long there.

    Raises:
        DeviceError: When the device does not compute in it.
    """
    if name == "auto":
        fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else "amx_bf16" in _cpu_flags()
        return "bfloat16" if fast else "float32"
    if device.type == "cpu" and name == "bfloat16":
        # Computed everywhere, however slowly.
        return name
    choose_dtype(name, device)
    return name


def describe(device: torch.device) -> dict[str, str | int]:
    """Return name, free bytes and dtypes of a device, for logs and ``run.json``."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "device": device.type,
        "name": name,
        "free_bytes": free_bytes(device),
        "dtypes": ", ".join(supported_dtypes(device)),
    }


def free_bytes(device: torch.device) -> int:
    """Return the memory that is free on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def lower_bound(
    network: nn.Module, shape: tuple[int, ...], dtype: torch.dtype, example: tuple[int, ...] | None = None
) -> int:
    """Return bytes that a pass over ``shape`` needs at least: the largest layer's input and output together.

    Args:
        network: On any device, of ``dtype``.
        shape: ``(tiles, channels, *tile)``.
        dtype: Of the batch.
        example: A smaller shape to measure at; pixels scale it up. Torch's shapes without data would take seconds to
            import.
    """
    example = example or shape
    largest = [0]

    def measure(_: nn.Module, inputs: tuple[object, ...], output: Tensor | tuple[object, ...]) -> None:
        # A pooling that stores its indices gives two.
        outputs = output if isinstance(output, tuple) else (output,)
        pixels = sum(value.numel() for value in (*inputs, *outputs) if isinstance(value, Tensor))
        largest[0] = max(largest[0], pixels)

    # A TorchScript program lets nobody look into it.
    modules = (module for module in network.modules() if not isinstance(module, torch.jit.ScriptModule))
    leaves = [module for module in modules if not list(module.children())]
    handles = [module.register_forward_hook(measure) for module in leaves]
    device = next((parameter.device for parameter in network.parameters()), None)
    with torch.inference_mode():
        network(torch.zeros(example, device=device, dtype=dtype))
    for handle in handles:
        handle.remove()
    return math.ceil(largest[0] * math.prod(shape) / math.prod(example)) * dtype.itemsize


def probe(
    network: nn.Module,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device,
    example: tuple[int, ...] | None = None,
) -> int:
    """Run a batch of the planned shape, so that running out of memory comes before the first block.

    Args:
        network: On ``device``, of ``dtype``.
        shape: ``(tiles, channels, *tile)``.
        dtype: Of the batch.
        device: Where.
        example: A small shape that certainly fits.

    Returns:
        Peak bytes, as far as the device tells.

    Raises:
        DeviceError: When it does not fit.
    """
    needed, free = lower_bound(network, shape, dtype, example), free_bytes(device)
    if needed > free:
        raise DeviceError(_does_not_fit(shape, device, needed, free))
    before = psutil.Process().memory_info().rss
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        with torch.inference_mode():
            network(torch.zeros(shape, dtype=dtype, device=device))
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if device.type == "cpu" and "allocate memory" not in str(error) and not isinstance(error, MemoryError):
            raise
        raise DeviceError(_does_not_fit(shape, device, needed, free)) from error
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return max(needed, highest - before)


def _does_not_fit(shape: tuple[int, ...], device: torch.device, needed: int, free: int) -> str:
    return (
        f"a batch of shape {shape} does not fit on {device.type!r}: it needs at least {needed / 2**20:.0f} MiB, "
        f"{free / 2**20:.0f} MiB are free. Make tiling.tile or the batch smaller"
    )
