"""The dilated network (Yu & Koltun 2016, arXiv 1511.07122): front end and context module; two dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

import torch
from pydantic import model_validator
from torch import Tensor, nn

from models.networks.geometry import Geometry
from models.networks.reach import Interval, convolved, diameter
from models.networks.upsampling import Upsampling, bilinear_kernel, cells_read, upsampler
from models.networks.vgg import DenseVggArguments, dense_layers, stages_read, vgg_features

_STRIDE = 8
_POOLED = 3
_DILATIONS = (1, 1, 2, 4, 8, 16, 1)
_LARGE = (2, 2, 4, 8, 16, 32, 32)
_NOISE = 1e-3


class DilatedArguments(DenseVggArguments):
    """What a card says about a dilated network.

    Attributes:
        context: The context module behind the front end's scores: ``basic`` keeps their number throughout, ``large``
            widens it up to 32 times (table 1).
        upsampling: From an eighth of the image's size to all of it.
    """

    context: Literal["none", "basic", "large"] = "basic"
    upsampling: Upsampling = "bilinear"

    @model_validator(mode="after")
    def _scores_were_not_pooled(self) -> DilatedArguments:
        if self.upsampling == "max_unpooling":
            raise ValueError(
                "upsampling 'max_unpooling' needs the indices of a pooling, and scores were never pooled; take another"
            )
        return self


class Dilated(nn.Module):
    """Maps ``(batch, n_channels, rows, cols)`` to logits ``(batch, n_classes, rows, cols)``; multiples of 8.

    The front end is VGG-16 without its last two poolings; what came behind each of them is dilated by 2 and by 4 (3.1).
    The original pads the image by reflection and no layer; here every layer is padded by half its window with zeros, so
    that scores lie over their pixels at any size. Scores differ only where the receptive field meets the edge.

    Args:
        n_channels: Input channels.
        n_classes: Output channels.
        arguments: Everything else.
    """

    def __init__(self, n_channels: int, n_classes: int, arguments: DilatedArguments) -> None:
        super().__init__()
        self.features = _front_end(n_channels, arguments)
        self.dense = dense_layers(arguments, dilation=4)
        self.score = nn.Conv2d(arguments.dense_width, n_classes, 1)
        self.context = context_module(n_classes, arguments.context)
        step = (_STRIDE, _STRIDE)
        self.rise = upsampler(arguments.upsampling, n_classes, n_classes, step, bilinear_start=True)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits."""
        scores = self.score(self.dense(self.features(image)))
        logits: Tensor = self.rise(self.context(scores))
        return logits


def _front_end(n_channels: int, arguments: DilatedArguments) -> nn.Sequential:
    features = vgg_features(n_channels, arguments)
    poolings = 0
    for place, layer in enumerate(features):
        if isinstance(layer, nn.MaxPool2d):
            poolings += 1
            if poolings > _POOLED:
                features[place] = nn.Identity()
        elif isinstance(layer, nn.Conv2d) and poolings > _POOLED:
            layer.dilation = layer.padding = (2, 2)
    return features


def context_module(n_classes: int, size: Literal["none", "basic", "large"]) -> nn.Sequential:
    """Build the context module: seven dilated convolutions with rectifiers, and one of 1x1 (table 1).

    It begins as the identity of what is positive (equations 4 and 5): a class is carried by as many channels as a layer
    has for it, each with an equal share; every other weight is zero in ``basic``, and small noise in ``large``.
    """
    if size == "none":
        return nn.Sequential()
    factors = (1,) * len(_DILATIONS) if size == "basic" else _LARGE
    widths = [n_classes * factor for factor in (1, *factors)]
    layers: list[nn.Module] = []
    for (n_in, n_out), dilation in zip(pairwise(widths), _DILATIONS, strict=True):
        layers += [nn.Conv2d(n_in, n_out, 3, padding=dilation, dilation=dilation), nn.ReLU(inplace=True)]
    layers.append(nn.Conv2d(widths[-1], n_classes, 1))
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            _start_identical(layer, n_classes, noise=0.0 if size == "basic" else _NOISE)
    return nn.Sequential(*layers)


def _start_identical(layer: nn.Conv2d, n_classes: int, noise: float) -> None:
    # Which class a channel speaks of.
    read = torch.arange(layer.in_channels) * n_classes // layer.in_channels
    given = torch.arange(layer.out_channels) * n_classes // layer.out_channels
    share = n_classes / layer.out_channels
    nn.init.normal_(layer.weight, std=noise * share)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    middle = layer.kernel_size[0] // 2
    with torch.no_grad():
        at = layer.weight[:, :, middle, middle]
        at.copy_(torch.where(given[:, None] == read, share, at))


def build(n_channels: int, n_classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    """Build a dilated network with random weights."""
    return Dilated(n_channels, n_classes, DilatedArguments.model_validate(arguments))


def geometry(arguments: Mapping[str, Any]) -> Geometry:
    """Add up the layers: the context module's 67 cells of 8 pixels are most of it."""
    settings = DilatedArguments.model_validate(arguments)

    def read(interval: Interval) -> Interval:
        interval = cells_read(settings.upsampling, interval, _STRIDE, bilinear_kernel(_STRIDE))
        if settings.context != "none":
            for dilation in _DILATIONS:
                interval = convolved(interval, 3, dilation=dilation)
        interval = convolved(interval, settings.dense_kernel, dilation=4)
        interval = convolved(interval, 2 * settings.depths[4] + 1, dilation=2)
        interval = convolved(interval, 2 * settings.depths[3] + 1)
        return stages_read(interval, settings.depths[:_POOLED])

    return Geometry(stride=(_STRIDE, _STRIDE), receptive_field=(diameter(read, _STRIDE),) * 2, margin=(0, 0))
