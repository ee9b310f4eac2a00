"""SegNet (Badrinarayanan et al. 2017, arXiv 1511.00561): VGG-16 mirrored, unpooled by indices; two dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from models.networks.geometry import Geometry
from models.networks.reach import Interval, convolved, diameter, pooled
from models.networks.upsampling import cells_read, upsampler
from models.networks.vgg import VggArguments, start_rectified, vgg_features


class SegnetArguments(VggArguments):
    """What a card says about a SegNet.

    Attributes:
        widths: Channels of each stage; the decoder mirrors them.
        depths: Convolutions of each stage; the decoder mirrors them.
        batch_norm: Behind every convolution but the last, which gives the scores.
    """

    batch_norm: bool = True


class Segnet(nn.Module):
    """Maps ``(batch, n_channels, rows, cols)`` to logits ``(batch, n_classes, rows, cols)``; multiples of the stride.

    The decoder's first stage is that next to the image; its last convolution gives the scores, as published.

    Args:
        n_channels: Input channels.
        n_classes: Output channels.
        arguments: Everything else.
    """

    def __init__(self, n_channels: int, n_classes: int, arguments: SegnetArguments) -> None:
        super().__init__()
        self.features = vgg_features(n_channels, arguments)
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                layer.return_indices = True
        self.rise = nn.ModuleList(upsampler("max_unpooling", n, n, (2, 2)) for n in arguments.widths)
        behind = (n_classes, *arguments.widths[:-1])
        self.decoder = nn.ModuleList(
            _decoder_stage(n, out, depth, arguments.batch_norm, last=stage == 0)
            for stage, (n, out, depth) in enumerate(zip(arguments.widths, behind, arguments.depths, strict=True))
        )
        start_rectified(self.decoder)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits."""
        indices: list[Tensor] = []
        features = image
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                features, places = layer(features)
                indices.append(places)
            else:
                features = layer(features)
        for rise, stage, places in zip(reversed(self.rise), reversed(self.decoder), reversed(indices), strict=True):
            features = stage(rise(features, places))
        return features


def _decoder_stage(n_in: int, n_out: int, depth: int, batch_norm: bool, *, last: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for place in range(depth):
        end = place == depth - 1
        n = n_out if end else n_in
        layers.append(nn.Conv2d(n_in, n, 3, padding=1))
        if not (last and end):
            layers += [nn.BatchNorm2d(n), nn.ReLU(inplace=True)] if batch_norm else [nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def build(n_channels: int, n_classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    """Build a SegNet with random weights."""
    return Segnet(n_channels, n_classes, SegnetArguments.model_validate(arguments))


def geometry(arguments: Mapping[str, Any]) -> Geometry:
    """Add up the layers: the decoder's on the way down from the scores, then the encoder's.

    Where a value is unpooled to depends on the whole window that its index was found in; a deeper layer reads that
    window too.
    """
    settings = SegnetArguments.model_validate(arguments)

    def read(interval: Interval) -> Interval:
        for depth in settings.depths:
            interval = cells_read("max_unpooling", convolved(interval, 2 * depth + 1), 2)
        for depth in reversed(settings.depths):
            interval = convolved(pooled(interval, 2), 2 * depth + 1)
        return interval

    stride = 2 ** len(settings.depths)
    return Geometry(stride=(stride, stride), receptive_field=(diameter(read, stride),) * 2, margin=(0, 0))
