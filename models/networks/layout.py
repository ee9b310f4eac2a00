"""How images and weights lie in memory: channels last, where that changes no number."""

from __future__ import annotations

import torch
from torch import nn


def memory_layout(network: nn.Module, ndim: int, device: torch.device) -> torch.memory_format:
    """Return the fastest layout in which a device computes a network right.

    On the CPU torch sums the values of a group norm one after the other in float32 where channels come last: of images
    of 1024 x 1024 the result is off by a tenth of a standard deviation, of small ones by nothing that could be seen.

    Args:
        network: Whose layers are looked at.
        ndim: Axes of its images.
        device: Where it runs.
    """
    grouped = any(isinstance(module, nn.GroupNorm) for module in network.modules())
    if grouped and device.type == "cpu":
        return torch.contiguous_format
    return torch.channels_last if ndim == 2 else torch.channels_last_3d
