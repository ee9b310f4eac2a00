"""U-Net (Ronneberger 2015, Çiçek 2016) with batch norm and padded convolutions, in two or three dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from models.networks.geometry import Geometry

_CONVOLUTION: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
_UPSAMPLING: dict[int, type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
_NORM: dict[int, type[nn.BatchNorm2d] | type[nn.BatchNorm3d]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class UnetArguments(BaseModel):
    """What a card says about a U-Net.

    Attributes:
        ndim: Spatial axes.
        widths: Channels of each level, the finest first.
        strides: Pooling between the levels, per axis; 2 everywhere when left out. A level whose pooling leaves an
            axis alone does not convolve along it either, as voxels are coarser there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ndim: Literal[2, 3] = 2
    widths: tuple[int, ...] = Field(default=(16, 32, 64, 128), min_length=1)
    strides: tuple[tuple[int, ...], ...] = ()

    @model_validator(mode="after")
    def _one_pooling_between_two_levels(self) -> UnetArguments:
        if self.strides and len(self.strides) != len(self.widths) - 1:
            raise ValueError(f"{len(self.widths)} widths need {len(self.widths) - 1} strides")
        if any(len(stride) != self.ndim for stride in self.strides):
            raise ValueError(f"every stride has {self.ndim} numbers")
        return self

    @property
    def poolings(self) -> tuple[tuple[int, ...], ...]:
        """Pooling from each level to the next."""
        return self.strides or ((2,) * self.ndim,) * (len(self.widths) - 1)

    @property
    def kernels(self) -> tuple[tuple[int, ...], ...]:
        """Size of the convolutions of each level."""
        finer = tuple(tuple(3 if step > 1 else 1 for step in stride) for stride in self.poolings)
        return (*finer, (3,) * self.ndim)


class _Block(nn.Sequential):
    """Twice: convolution, batch norm, ReLU."""

    def __init__(self, n_in: int, n_out: int, kernel: tuple[int, ...]) -> None:
        ndim = len(kernel)
        padding = tuple(size // 2 for size in kernel)
        layers: list[nn.Module] = []
        for n in (n_in, n_out):
            convolution = _CONVOLUTION[ndim](n, n_out, kernel, padding=padding, bias=False)  # type: ignore[arg-type]
            layers += [convolution, _NORM[ndim](n_out), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class Unet(nn.Module):
    """Maps ``(batch, n_channels, *shape)`` to logits ``(batch, n_classes, *shape)``.

    Args:
        n_channels: Input channels.
        n_classes: Output channels.
        arguments: Everything else.
    """

    def __init__(self, n_channels: int, n_classes: int, arguments: UnetArguments) -> None:
        super().__init__()
        widths, kernels, ndim = arguments.widths, arguments.kernels, arguments.ndim
        inputs = (n_channels, *widths[:-1])
        self.down = nn.ModuleList(_Block(n, w, k) for n, w, k in zip(inputs, widths, kernels, strict=True))
        pooling: type[nn.Module] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}[ndim]
        self.pool = nn.ModuleList(pooling(stride) for stride in arguments.poolings)
        self.rise = nn.ModuleList(
            _UPSAMPLING[ndim](below, here, stride, stride)  # type: ignore[arg-type]
            for here, below, stride in zip(widths[:-1], widths[1:], arguments.poolings, strict=True)
        )
        self.up = nn.ModuleList(_Block(2 * w, w, k) for w, k in zip(widths[:-1], kernels[:-1], strict=True))
        self.head = _CONVOLUTION[ndim](widths[0], n_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits; each axis of ``image`` is a multiple of the stride."""
        skips: list[Tensor] = []
        features: Tensor = self.down[0](image)
        for pool, block in zip(self.pool, self.down[1:], strict=True):
            skips.append(features)
            features = block(pool(features))
        for rise, block, skip in zip(reversed(self.rise), reversed(self.up), reversed(skips), strict=True):
            features = block(torch.cat([rise(features), skip], dim=1))
        logits: Tensor = self.head(features)
        return logits


def build(n_channels: int, n_classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    """Build a U-Net with random weights."""
    return Unet(n_channels, n_classes, UnetArguments.model_validate(arguments))


def geometry(arguments: Mapping[str, Any]) -> Geometry:
    """Add up the layers along the deepest path.

    On the way down two convolutions widen the field by ``2 (k - 1)`` steps of the level, a pooling by ``p - 1``.
    On the way up a pixel reads one coarse pixel, whose place in it varies: the diameter is that of the worst one,
    twice the larger reach.
    """
    settings = UnetArguments.model_validate(arguments)
    steps = [(1,) * settings.ndim]
    for pooling in settings.poolings:
        steps.append(tuple(s * p for s, p in zip(steps[-1], pooling, strict=True)))
    fields = tuple(
        _receptive_field([kernel[axis] for kernel in settings.kernels], [step[axis] for step in steps])
        for axis in range(settings.ndim)
    )
    return Geometry(steps[-1], fields, (0,) * settings.ndim)


def _receptive_field(kernels: list[int], steps: list[int]) -> int:
    reach = 0
    for phase in range(steps[-1]):
        low = high = phase
        for kernel, step, coarser in zip(kernels[:-1], steps[:-1], steps[1:], strict=True):
            low, high = low - (kernel - 1) * step, high + (kernel - 1) * step
            low, high = low // coarser * coarser, high // coarser * coarser + coarser - 1
        low, high = low - 2 * (kernels[-1] - 1) * steps[-1] // 2, high + 2 * (kernels[-1] - 1) * steps[-1] // 2
        for kernel, step in zip(kernels[-2::-1], steps[-2::-1], strict=True):
            low, high = low - (kernel - 1) * step, high + (kernel - 1) * step
        reach = max(reach, phase - low, high - phase)
    return 2 * reach + 1
