"""Small variants of our own networks, and how to look at what they read."""

import torch
from torch import nn

from models.card import Network

VGG = {"widths": [3, 3, 4, 4, 4], "depths": [1, 1, 1, 2, 1]}
DENSE = {**VGG, "dense_width": 6, "dense_kernel": 3}

SMALL = [
    Network(name="fcn32s", arguments=DENSE),
    Network(name="fcn16s", arguments={**DENSE, "upsampling": "bicubic"}),
    Network(name="fcn8s", arguments={**DENSE, "batch_norm": True}),
    Network(name="fcn8s", arguments={**DENSE, "upsampling": "bilinear"}),
    Network(name="fcn8s", arguments={**DENSE, "upsampling": "nearest"}),
    Network(name="fcn8s", arguments={**DENSE, "upsampling": "bed_of_nails"}),
]


def opened(module: nn.Module) -> nn.Module:
    """Make every weight positive and every bias zero: an input of zeros scores zero, and nothing positive cancels."""
    module = module.double().eval()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            else:
                parameter.abs_().clamp_(min=0.05)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
    return module


def furthest_touched(module: nn.Module, stride: int, field: int, axis: int) -> int:
    """Return how far from a line of ones, in an image of zeros, the scores change; lines in every place of a cell."""
    length = -(-(field + 3 * stride) // stride) * stride
    places = torch.arange(stride) + length // 2
    images = torch.zeros(stride, 1, stride, length, dtype=torch.float64)
    images[torch.arange(stride), :, :, places] = 1
    with torch.inference_mode():
        scores = module(images if axis == 1 else images.mT.contiguous())
    touched = (scores != 0).any(1).any(1 if axis == 1 else 2)
    positions = torch.arange(length)
    return max(int((positions[line] - place).abs().max()) for line, place in zip(touched, places, strict=True))
