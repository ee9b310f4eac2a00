"""Batch norm folded into the convolution before it, so that inference passes over memory once less."""

from __future__ import annotations

import copy
import logging

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_LOG = logging.getLogger(__name__)
_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)
_TOLERANCE = 1e-4


def fuse(network: nn.Module, example: Tensor) -> nn.Module:
    """Fold batch norms into convolutions wherever one alone reads the other.

    Args:
        network: In float32 on the CPU; left as it is.
        example: A batch that it can be run on.

    Returns:
        A fused copy in ``eval`` mode; an unfused one where the two differ by more than 1e-4 of the largest score.
    """
    network = copy.deepcopy(network).eval()
    fused = copy.deepcopy(network)
    # Not inference_mode: parameters born in it cannot be used outside.
    with torch.no_grad():
        for name, norm_name in _pairs(fused, example).items():
            convolution, norm = fused.get_submodule(name), fused.get_submodule(norm_name)
            fused.set_submodule(name, fuse_conv_bn_eval(convolution, norm))  # type: ignore[type-var, arg-type]
            fused.set_submodule(norm_name, nn.Identity())
        expected, found = network(example), fused(example)
    difference = float((expected - found).abs().max() / expected.abs().max().clamp_min(1.0))
    if difference > _TOLERANCE:
        _LOG.warning("batch norm is not fused: it would change scores by %.1e", difference)
        return network
    return fused


def _pairs(network: nn.Module, example: Tensor) -> dict[str, str]:
    """Map convolutions to the batch norm that reads their output, as seen while the network runs."""
    written_by: dict[int, str] = {}
    pairs: dict[str, str] = {}
    # Held, so that no tensor gets the identity of one that is gone.
    held: list[Tensor] = []
    handles = []
    for name, module in network.named_modules():
        if isinstance(module, _CONVOLUTIONS):

            def note(_: nn.Module, __: object, output: Tensor, name: str = name) -> None:
                held.append(output)
                written_by[id(output)] = name

            handles.append(module.register_forward_hook(note))
        elif isinstance(module, _NORMS):

            def match(_: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
                if id(inputs[0]) in written_by:
                    pairs[written_by[id(inputs[0])]] = name

            handles.append(module.register_forward_pre_hook(match))
    network(example)
    for handle in handles:
        handle.remove()
    return pairs
