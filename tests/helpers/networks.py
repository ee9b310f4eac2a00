"""Small variants of our own networks, and how to look at what they read."""

import torch
from torch import nn

from models.card import Network
from models.networks.builders import build_network
from models.networks.geometry import Geometry

VGG = {"widths": [3, 3, 4, 4, 4], "depths": [1, 1, 1, 2, 1]}
DENSE = {**VGG, "dense_width": 6, "dense_kernel": 3}

SMALL = [
    Network(name="fcn32s", arguments=DENSE),
    Network(name="fcn16s", arguments={**DENSE, "upsampling": "bicubic"}),
    Network(name="fcn8s", arguments={**DENSE, "batch_norm": True}),
    Network(name="fcn8s", arguments={**DENSE, "upsampling": "bilinear"}),
    Network(name="fcn8s", arguments={**DENSE, "upsampling": "nearest"}),
    Network(name="fcn8s", arguments={**DENSE, "upsampling": "bed_of_nails"}),
    Network(name="segnet", arguments={"widths": [3, 4, 4], "depths": [2, 1, 2]}),
    Network(name="segnet", arguments={"widths": [3, 4], "depths": [1, 2], "batch_norm": False}),
    Network(name="dilated", arguments=DENSE),
    Network(name="dilated", arguments={**DENSE, "context": "none", "upsampling": "transposed_convolution"}),
    Network(name="dilated", arguments={**DENSE, "context": "large", "batch_norm": True}),
    Network(name="refinenet", arguments={"encoder": "resnet18", "width": 4, "poolings": 1}),
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


def furthest_touched(network: Network, geometry: Geometry, axis: int) -> int:
    """Return how far from a line of more, in any place of a cell, a score changes: zeros let nothing drown.

    What is unpooled needs values to choose from, several cells wide, as zeros are found in the first place.
    """
    module = opened(build_network(network, 1, 2))
    stride, field = geometry.stride[axis], geometry.receptive_field[axis]
    length = -(-(field + 3 * stride) // stride) * stride
    base = torch.rand(1, 1, 16 * stride, length) if network.name == "segnet" else torch.zeros(1, 1, stride, length)
    # Where all would be slow, those alone that a field of this network begins and ends at.
    within = torch.tensor([7, 25]) if network.name == "refinenet" else torch.arange(stride)
    places = within + length // 2 // stride * stride
    base = base.double().expand(len(places), -1, -1, -1)
    images = base.clone()
    images[torch.arange(len(places)), :, :, places] += 1
    if axis == 0:
        base, images = base.mT, images.mT
    with torch.inference_mode():
        touched = (module(images.contiguous()) != module(base.contiguous())).any(1).any(2 if axis == 0 else 1)
    positions = torch.arange(length)
    return max(int((positions[line] - place).abs().max()) for line, place in zip(touched, places, strict=True))
