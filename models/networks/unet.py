"""U-Net (Ronneberger 2015, Çiçek 2016) in two or three dimensions: padded with batch norm, or as published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from torch import Tensor, nn

from models.networks.geometry import Geometry
from models.networks.reach import Interval
from models.networks.upsampling import Upsampling, cells_read, check_upsampling, upsampler

_CONVOLUTION: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
_NORM: dict[tuple[str, int], type[nn.Module]] = {
    ("batch", 2): nn.BatchNorm2d,
    ("batch", 3): nn.BatchNorm3d,
    ("instance", 2): nn.InstanceNorm2d,
    ("instance", 3): nn.InstanceNorm3d,
}


class UnetArguments(BaseModel):
    """What a card says about a U-Net; as published: five widths from 64 to 1024, padding valid and norm none.

    Attributes:
        ndim: Spatial axes.
        widths: Channels of each level, the finest first.
        strides: Pooling between the levels, per axis; 2 everywhere when left out. A level whose pooling leaves an
            axis alone does not convolve along it either, as voxels are coarser there.
        padding: ``same`` answers for every pixel; ``valid`` pads nowhere and loses a margin at each side.
        norm: Behind each convolution; ``instance`` looks at the whole tile, so that tiled is not untiled.
        upsampling: The way back up, by its name in models.networks.upsampling.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ndim: Literal[2, 3] = 2
    widths: tuple[PositiveInt, ...] = Field(default=(16, 32, 64, 128), min_length=1)
    strides: tuple[tuple[PositiveInt, ...], ...] = ()
    padding: Literal["same", "valid"] = "same"
    norm: Literal["batch", "instance", "none"] = "batch"
    upsampling: Upsampling = "transposed_convolution"

    @model_validator(mode="after")
    def _one_pooling_between_two_levels(self) -> UnetArguments:
        if self.strides and len(self.strides) != len(self.widths) - 1:
            raise ValueError(f"{len(self.widths)} widths need {len(self.widths) - 1} strides")
        if any(len(stride) != self.ndim for stride in self.strides):
            raise ValueError(f"every stride has {self.ndim} numbers")
        return self

    @model_validator(mode="after")
    def _levels_meet(self) -> UnetArguments:
        check_upsampling(self.upsampling, self.ndim)
        if self.padding == "valid":
            if self.upsampling == "max_unpooling":
                raise ValueError(
                    "max_unpooling needs padding 'same': without padding fewer pixels go up than came down"
                )
            if any(surplus % 2 for surplus in self.surplus):
                raise ValueError("padding 'valid' needs strides whose products are even, or 1, along each axis")
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

    @property
    def steps(self) -> tuple[tuple[int, ...], ...]:
        """Pixels of the image per pixel of each level."""
        steps = [(1,) * self.ndim]
        for pooling in self.poolings:
            steps.append(tuple(s * p for s, p in zip(steps[-1], pooling, strict=True)))
        return tuple(steps)

    @property
    def lost_above(self) -> tuple[int, ...]:
        """Pixels of the image that unpadded convolutions lose on the way down to the coarsest level, per axis."""
        levels = list(zip(self.kernels[:-1], self.steps[:-1], strict=True))
        return tuple(sum(2 * (kernel[k] - 1) * step[k] for kernel, step in levels) for k in range(self.ndim))

    @property
    def surplus(self) -> tuple[int, ...]:
        """Pixels by which a multiple of the stride is longer than what unpadded poolings divide, per axis."""
        return tuple(-lost % step for lost, step in zip(self.lost_above, self.steps[-1], strict=True))

    @property
    def margin(self) -> tuple[int, ...]:
        """Pixels lost at each side of an image whose lengths are multiples of the stride."""
        if self.padding == "same":
            return (0,) * self.ndim
        coarsest = (2 * (kernel - 1) * step for kernel, step in zip(self.kernels[-1], self.steps[-1], strict=True))
        axes = zip(self.lost_above, coarsest, self.surplus, strict=True)
        return tuple((2 * above + below + surplus) // 2 for above, below, surplus in axes)


class _Block(nn.Sequential):
    """Twice: convolution, norm where there is one, ReLU."""

    def __init__(self, n_in: int, n_out: int, kernel: tuple[int, ...], arguments: UnetArguments) -> None:
        norm = _NORM.get((arguments.norm, arguments.ndim))
        padding = tuple(size // 2 if arguments.padding == "same" else 0 for size in kernel)
        layers: list[nn.Module] = []
        for n in (n_in, n_out):
            kind = _CONVOLUTION[arguments.ndim]
            convolution = kind(n, n_out, kernel, padding=padding, bias=norm is None)  # type: ignore[arg-type]
            if norm is None:
                # Nothing else keeps the scale of the features; section 3 of the paper.
                nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            layers += [convolution, *_norms(norm, n_out), nn.ReLU(inplace=True)]
        super().__init__(*layers)


def _norms(kind: type[nn.Module] | None, n: int) -> list[nn.Module]:
    if kind is None:
        return []
    # Batch norm learns a scale anyway, instance norm when asked to.
    return [kind(n, affine=True)]


class Unet(nn.Module):
    """Maps ``(batch, n_channels, *shape)`` to logits ``(batch, n_classes, *shape less margin at each side)``.

    Args:
        n_channels: Input channels.
        n_classes: Output channels.
        arguments: Everything else.
    """

    def __init__(self, n_channels: int, n_classes: int, arguments: UnetArguments) -> None:
        super().__init__()
        widths, kernels, ndim = arguments.widths, arguments.kernels, arguments.ndim
        inputs = (n_channels, *widths[:-1])
        self.arguments = arguments
        self.down = nn.ModuleList(_Block(n, w, k, arguments) for n, w, k in zip(inputs, widths, kernels, strict=True))
        pooling = nn.MaxPool2d if ndim == 2 else nn.MaxPool3d
        stored = arguments.upsampling == "max_unpooling"
        self.pool = nn.ModuleList(pooling(stride, return_indices=stored) for stride in arguments.poolings)
        self.rise = nn.ModuleList(
            upsampler(arguments.upsampling, below, here, stride)
            for here, below, stride in zip(widths[:-1], widths[1:], arguments.poolings, strict=True)
        )
        self.up = nn.ModuleList(_Block(2 * w, w, k, arguments) for w, k in zip(widths[:-1], kernels[:-1], strict=True))
        self.head = _CONVOLUTION[ndim](widths[0], n_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits; each axis of ``image`` is a multiple of the stride, or without padding of any length.

        Without padding poolings divide only some lengths (572 of the published network): what is longer is trimmed
        alike at both sides, the odd pixel at the end.
        """
        skips: list[tuple[Tensor, Tensor | None]] = []
        features: Tensor = self.down[0](self._trimmed(image))
        for pool, block in zip(self.pool, self.down[1:], strict=True):
            pooled, indices = pool(features) if pool.return_indices else (pool(features), None)
            skips.append((features, indices))
            features = block(pooled)
        for rise, block, (skip, indices) in zip(reversed(self.rise), reversed(self.up), reversed(skips), strict=True):
            risen = rise(features, indices)
            features = block(torch.cat([risen, _centre(skip, risen.shape[2:])], dim=1))
        logits: Tensor = self.head(features)
        return logits

    def _trimmed(self, image: Tensor) -> Tensor:
        if self.arguments.padding == "same":
            return image
        parts = zip(image.shape[2:], self.arguments.lost_above, self.arguments.steps[-1], strict=True)
        return _centre(image, tuple(length - (length - lost) % step for length, lost, step in parts))


def _centre(features: Tensor, shape: tuple[int, ...]) -> Tensor:
    for axis, length in enumerate(shape, 2):
        if features.shape[axis] != length:
            features = features.narrow(axis, (features.shape[axis] - length) // 2, length)
    return features


def build(n_channels: int, n_classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    """Build a U-Net with random weights."""
    return Unet(n_channels, n_classes, UnetArguments.model_validate(arguments))


def geometry(arguments: Mapping[str, Any]) -> Geometry:
    """Follow one score back through the layers, wherever in a pixel of the coarsest level it lies."""
    settings = UnetArguments.model_validate(arguments)
    fields = tuple(_receptive_field(settings, axis) for axis in range(settings.ndim))
    return Geometry(
        stride=settings.steps[-1],
        receptive_field=None if settings.norm == "instance" else fields,
        margin=settings.margin,
    )


def _receptive_field(settings: UnetArguments, axis: int) -> int:
    """Return the diameter of the worst place: twice its larger reach, and one."""
    reach = 0
    for place in range(settings.steps[-1][axis]):
        low, high = _read(settings, axis, 0, (place, place))
        reach = max(reach, place - low, high - place)
    return 2 * reach + 1


def _read(settings: UnetArguments, axis: int, level: int, interval: Interval) -> Interval:
    """Return the pixels of the image that decide over some of what leaves a level on the way up."""
    if level == len(settings.poolings):
        return _read_down(settings, axis, level, interval)
    reach = settings.kernels[level][axis] - 1
    wide = interval[0] - reach, interval[1] + reach
    low, high = _read_down(settings, axis, level, wide)
    coarse = cells_read(settings.upsampling, wide, settings.poolings[level][axis])
    if coarse[0] > coarse[1]:
        return low, high
    below = _read(settings, axis, level + 1, coarse)
    return min(low, below[0]), max(high, below[1])


def _read_down(settings: UnetArguments, axis: int, level: int, interval: Interval) -> Interval:
    """Return the pixels of the image that decide over some of what leaves a level on the way down."""
    low, high = interval
    for above in range(level, -1, -1):
        reach = settings.kernels[above][axis] - 1
        low, high = low - reach, high + reach
        if above:
            pooling = settings.poolings[above - 1][axis]
            low, high = low * pooling, high * pooling + pooling - 1
    return low, high
