"""RefineNet (Lin et al. 2017, arXiv 1611.06612), four cascaded blocks over a ResNet of torchvision; two dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torchvision
from pydantic import BaseModel, ConfigDict, PositiveInt
from torch import Tensor, nn

from models.networks.geometry import Geometry
from models.networks.reach import Interval, convolved, diameter, union
from models.networks.upsampling import cells_read, upsampler

_DEPTHS = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}
_WINDOW = 5
_FINEST = 4


class RefinenetArguments(BaseModel):
    """What a card says about a RefineNet.

    Attributes:
        encoder: Of torchvision; ImageNet weights fit it.
        width: Channels of the blocks; the coarsest block has twice as many.
        poolings: In a chain. The paper describes two; the networks that its authors released have four.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"] = "resnet101"
    width: PositiveInt = 256
    poolings: PositiveInt = 2

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each block, the finest first."""
        return (self.width, self.width, self.width, 2 * self.width)


class ResidualUnit(nn.Module):
    """ReLU and convolution, twice, added to what comes in; a unit of ResNet without its batch norm (figure 3b)."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.first = nn.Conv2d(n, n, 3, padding=1)
        self.second = nn.Conv2d(n, n, 3, padding=1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape."""
        added: Tensor = features + self.second(self.relu(self.first(self.relu(features))))
        return added


class ChainedPooling(nn.Module):
    """Poolings by 5 with a convolution behind each; one reads the one before it, all are added (figure 3d)."""

    def __init__(self, n: int, poolings: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(_WINDOW, stride=1, padding=_WINDOW // 2)
        self.convolutions = nn.ModuleList(_convolution(n, n) for _ in range(poolings))

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape."""
        pooled: Tensor = self.relu(features)
        added = pooled
        for convolution in self.convolutions:
            pooled = convolution(self.pool(pooled))
            added = added + pooled
        return added


class RefineBlock(nn.Module):
    """Residual units for each input, fusion of the two resolutions, chained pooling, a residual unit (figure 3a).

    The coarsest block has one input, and nothing to fuse.

    Args:
        n: Channels of the finer input and of the output.
        n_coarser: Channels of the coarser input; None where there is none.
        poolings: In a chain.
    """

    def __init__(self, n: int, n_coarser: int | None, poolings: int) -> None:
        super().__init__()
        self.adapt = nn.Sequential(ResidualUnit(n), ResidualUnit(n))
        if n_coarser is not None:
            self.adapt_coarser = nn.Sequential(ResidualUnit(n_coarser), ResidualUnit(n_coarser))
            self.fuse, self.fuse_coarser = _convolution(n, n), _convolution(n_coarser, n)
            self.rise = upsampler("bilinear", n, n, (2, 2))
        self.chain = ChainedPooling(n, poolings)
        self.output = ResidualUnit(n)

    def forward(self, features: Tensor, coarser: Tensor | None = None) -> Tensor:
        """Return features of the shape of the finer input."""
        fused: Tensor = self.adapt(features)
        if coarser is not None:
            fused = self.fuse(fused) + self.rise(self.fuse_coarser(self.adapt_coarser(coarser)))
        refined: Tensor = self.output(self.chain(fused))
        return refined


class Refinenet(nn.Module):
    """Maps ``(batch, n_channels, rows, cols)`` to logits ``(batch, n_classes, rows, cols)``; multiples of 32.

    Bilinear upsampling takes pixels as areas: aligned by their corners, as the original's are, scores would depend on
    the size of the tile.

    Args:
        n_channels: Input channels.
        n_classes: Output channels.
        arguments: Everything else.
    """

    def __init__(self, n_channels: int, n_classes: int, arguments: RefinenetArguments) -> None:
        super().__init__()
        self.encoder = _encoder(n_channels, arguments.encoder)
        expansion = 1 if arguments.encoder in ("resnet18", "resnet34") else 4
        given = (64 * expansion, 128 * expansion, 256 * expansion, 512 * expansion)
        widths = arguments.widths
        self.reduce = nn.ModuleList(_convolution(n, width) for n, width in zip(given, widths, strict=True))
        coarser = (*widths[1:], None)
        self.blocks = nn.ModuleList(
            RefineBlock(n, below, arguments.poolings) for n, below in zip(widths, coarser, strict=True)
        )
        self.head = nn.Sequential(
            ResidualUnit(arguments.width),
            ResidualUnit(arguments.width),
            nn.Conv2d(arguments.width, n_classes, 3, padding=1),
        )
        self.rise = upsampler("bilinear", n_classes, n_classes, (_FINEST, _FINEST))

    def forward(self, image: Tensor) -> Tensor:
        """Return logits."""
        net = self.encoder
        features = net.maxpool(net.relu(net.bn1(net.conv1(image))))
        stages: list[Tensor] = []
        for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
            features = stage(features)
            stages.append(features)
        refined: Tensor | None = None
        for block, reduce, features in zip(reversed(self.blocks), reversed(self.reduce), reversed(stages), strict=True):
            refined = block(reduce(features), refined)
        logits: Tensor = self.rise(self.head(refined))
        return logits


def _convolution(n_in: int, n_out: int) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)


def _encoder(n_channels: int, name: str) -> Any:  # noqa: ANN401 - torchvision has no types
    encoder = getattr(torchvision.models, name)(weights=None)
    if n_channels != 3:
        encoder.conv1 = nn.Conv2d(n_channels, 64, 7, stride=2, padding=3, bias=False)
    encoder.avgpool, encoder.fc = nn.Identity(), nn.Identity()
    return encoder


def build(n_channels: int, n_classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    """Build a RefineNet with random weights."""
    return Refinenet(n_channels, n_classes, RefinenetArguments.model_validate(arguments))


def geometry(arguments: Mapping[str, Any]) -> Geometry:
    """Add up the layers along the paths: each block reads its stage of the encoder and the block below it."""
    settings = RefinenetArguments.model_validate(arguments)

    def read(interval: Interval) -> Interval:
        cells = convolved(cells_read("bilinear", interval, _FINEST), 3)
        return _block_read(settings, _units(cells, 2), stage=0)

    return Geometry(stride=(32, 32), receptive_field=(diameter(read, 32),) * 2, margin=(0, 0))


def _units(interval: Interval, n: int) -> Interval:
    return convolved(interval, 4 * n + 1)


def _block_read(settings: RefinenetArguments, interval: Interval, stage: int) -> Interval:
    chained = settings.poolings * (_WINDOW - 1 + 2)
    fused = convolved(_units(interval, 1), chained + 1)
    if stage == len(settings.widths) - 1:
        return _encoder_read(settings, convolved(_units(fused, 2), 3), stage)
    finer = _encoder_read(settings, convolved(_units(convolved(fused, 3), 2), 3), stage)
    cells = _units(convolved(cells_read("bilinear", fused, 2), 3), 2)
    return union(finer, _block_read(settings, cells, stage + 1))


def _encoder_read(settings: RefinenetArguments, interval: Interval, stage: int) -> Interval:
    # A unit of ResNet-18 and 34 has two windows of 3, a longer one of the others one; the first of a stage steps.
    windows = 2 if settings.encoder in ("resnet18", "resnet34") else 1
    for deeper in range(stage, -1, -1):
        rest = windows * _DEPTHS[settings.encoder][deeper] - 1
        interval = convolved(convolved(interval, 2 * rest + 1), 3, stride=2 if deeper else 1)
    return convolved(convolved(interval, 3, stride=2), 7, stride=2)
