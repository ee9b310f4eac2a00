"""FCN (Long 2015) over a dilated ResNet, as torchvision has it; two dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torchvision.models.segmentation import fcn_resnet50, fcn_resnet101

from models.networks.geometry import Geometry
from models.networks.reach import Interval, convolved, diameter
from models.networks.upsampling import cells_read

_BACKBONES = {"resnet50": fcn_resnet50, "resnet101": fcn_resnet101}
_STRIDE = 8
# Blocks of each stage.
_BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}


class FcnResnetArguments(BaseModel):
    """What a card says about torchvision's FCN.

    Attributes:
        backbone: The ResNet.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: Literal["resnet50", "resnet101"] = "resnet50"


def build(n_channels: int, n_classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    """Build torchvision's FCN with random weights and its names of weights; it maps images to logits of their size."""
    settings = FcnResnetArguments.model_validate(arguments)
    network: nn.Module = _BACKBONES[settings.backbone](weights=None, weights_backbone=None, num_classes=n_classes)
    if n_channels != 3:
        first = nn.Conv2d(n_channels, 64, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
        network.set_submodule("backbone.conv1", first)
    network.register_forward_hook(_keep_scores)
    return network


def geometry(arguments: Mapping[str, Any]) -> Geometry:
    """Follow one score back through interpolation and layers, wherever in a coarse pixel it lies."""
    layers = _layers(FcnResnetArguments.model_validate(arguments))

    def read(interval: Interval) -> Interval:
        interval = cells_read("bilinear", interval, _STRIDE)
        for kernel, stride, dilation in reversed(layers):
            interval = convolved(interval, kernel, stride, dilation)
        return interval

    return Geometry(stride=(_STRIDE, _STRIDE), receptive_field=(diameter(read, _STRIDE),) * 2, margin=(0, 0))


def _layers(settings: FcnResnetArguments) -> list[tuple[int, int, int]]:
    """Return kernel, stride and dilation of each layer on the longest way, the first layer first."""
    layers = [(7, 2, 1), (3, 2, 1)]
    # torchvision gives the first block of a dilated stage the dilation of the stage before.
    stages = ((1, 1, 1), (2, 1, 1), (1, 1, 2), (1, 2, 4))
    for blocks, (stride, before, dilation) in zip(_BLOCKS[settings.backbone], stages, strict=True):
        layers += [(3, stride, before), *[(3, 1, dilation)] * (blocks - 1)]
    return [*layers, (3, 1, 1)]


def _keep_scores(_: nn.Module, __: tuple[Tensor, ...], output: dict[str, Tensor]) -> Tensor:
    return output["out"]
