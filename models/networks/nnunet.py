"""The U-Nets of nnU-Net v2, built by their own package: several folds, and mirrored passes, are one network here."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Annotated, Any, Literal, TypeAlias

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from dynamic_network_architectures.building_blocks.simple_conv_blocks import ConvDropoutNormReLU
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from models.networks.geometry import Geometry

_Sizes: TypeAlias = tuple[tuple[Annotated[int, Field(ge=1)], ...], ...]
_CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
_DROPOUT = {2: nn.Dropout2d, 3: nn.Dropout3d}
_NORM: dict[str, dict[int, type[nn.Module]]] = {
    "InstanceNorm": {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d},
    "BatchNorm": {2: nn.BatchNorm2d, 3: nn.BatchNorm3d},
}
_NONLINEARITY = {"LeakyReLU": nn.LeakyReLU, "ReLU": nn.ReLU}


class NnunetArguments(BaseModel):
    """What the ``architecture`` of nnU-Net's plans says, and how many such networks vote.

    Attributes:
        architecture: Class of ``dynamic_network_architectures.architectures.unet``.
        ndim: Spatial axes.
        features: Channels of each stage, the finest first.
        kernels: Of each stage; 3 everywhere when left out.
        strides: Into each stage; 1 and then 2 everywhere when left out.
        encoder: Convolutions, or residual blocks, of each stage; 2 when left out.
        decoder: Convolutions of each stage on the way up; 2, or 1 with residual blocks, when left out.
        bias: Whether convolutions have one.
        norm: Normalisation after each convolution.
        eps: Of the normalisation.
        affine: Whether the normalisation has weights.
        dropout: Its probability; None without dropout. It is idle except in training.
        nonlinearity: After each normalisation.
        folds: Networks, whose logits are averaged.
        mirror_axes: Axes, 0 the first, along which the network was fitted on mirrored images.
        mirror: Whether logits are averaged over the image mirrored along every choice of these axes, as nnU-Net does
            by default: two to the power of their number passes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Literal["PlainConvUNet", "ResidualEncoderUNet"] = "PlainConvUNet"
    ndim: Literal[2, 3] = 2
    features: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(32, 64, 128, 256), min_length=2)
    kernels: _Sizes = ()
    strides: _Sizes = ()
    encoder: tuple[Annotated[int, Field(ge=1)], ...] = ()
    decoder: tuple[Annotated[int, Field(ge=1)], ...] = ()
    bias: bool = True
    norm: Literal["InstanceNorm", "BatchNorm"] = "InstanceNorm"
    eps: float = 1e-5
    affine: bool = True
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    nonlinearity: Literal["LeakyReLU", "ReLU"] = "LeakyReLU"
    folds: Annotated[int, Field(ge=1)] = 1
    mirror_axes: tuple[Annotated[int, Field(ge=0, le=2)], ...] = ()
    mirror: bool = True

    @model_validator(mode="after")
    def _one_of_each_per_stage(self) -> NnunetArguments:
        stages = len(self.features)
        for name, length in (("kernels", stages), ("strides", stages), ("encoder", stages), ("decoder", stages - 1)):
            if (found := len(getattr(self, name))) not in (0, length):
                raise ValueError(f"{stages} features need {length} {name}, not {found}")
        if any(len(size) != self.ndim for size in (*self.kernels, *self.strides)):
            raise ValueError(f"every kernel and every stride has {self.ndim} numbers")
        if len(set(self.mirror_axes)) < len(self.mirror_axes) or any(axis >= self.ndim for axis in self.mirror_axes):
            raise ValueError(f"mirror_axes {self.mirror_axes} are not different axes of {self.ndim}")
        return self

    @property
    def steps(self) -> _Sizes:
        """Stride into each stage."""
        return self.strides or ((1,) * self.ndim, *((2,) * self.ndim for _ in self.features[1:]))


class Nnunet(nn.Module):
    """Maps ``(batch, n_channels, *shape)`` to logits ``(batch, n_classes, *shape)``, averaged over folds and mirrors.

    Args:
        n_channels: Input channels.
        n_classes: Output channels.
        arguments: Everything else.
    """

    def __init__(self, n_channels: int, n_classes: int, arguments: NnunetArguments) -> None:
        super().__init__()
        networks = (unet(n_channels, n_classes, arguments) for _ in range(arguments.folds))
        self.folds = nn.ModuleList(_without_aliases(network) for network in networks)
        axes = arguments.mirror_axes if arguments.mirror else ()
        self._flips = [
            tuple(axis + 2 for axis in chosen) for n in range(1, len(axes) + 1) for chosen in combinations(axes, n)
        ]

    def forward(self, image: Tensor) -> Tensor:
        """Return logits; each axis of ``image`` is a multiple of the stride."""
        logits = [self._mirrored(network, image) for network in self.folds]
        return logits[0] if len(logits) == 1 else torch.stack(logits).mean(0)

    def at_all_depths(self, image: Tensor) -> list[Tensor]:
        """Return the logits of every stage of the decoder, the finest first, without mirrors: for fits."""
        answers: list[list[Tensor]] = []
        for network in self.folds:
            decoder: Any = network.decoder
            decoder.deep_supervision = True
            answers.append(network(image))
            decoder.deep_supervision = False
        return [torch.stack(depth).mean(0) for depth in zip(*answers, strict=True)]

    def _mirrored(self, network: nn.Module, image: Tensor) -> Tensor:
        total: Tensor = network(image)
        for axes in self._flips:
            total = total + network(image.flip(axes)).flip(axes)
        return total / (len(self._flips) + 1)


def unet(n_channels: int, n_classes: int, arguments: NnunetArguments) -> PlainConvUNet | ResidualEncoderUNet:
    """Build one fold as nnU-Net does, without deep supervision; its state dict has the names of a checkpoint."""
    ndim, residual = arguments.ndim, arguments.architecture == "ResidualEncoderUNet"
    stages = len(arguments.features)
    shared: dict[str, Any] = {
        "input_channels": n_channels,
        "num_classes": n_classes,
        "n_stages": stages,
        "features_per_stage": list(arguments.features),
        "conv_op": _CONVOLUTION[ndim],
        "kernel_sizes": [list(size) for size in arguments.kernels or ((3,) * ndim,) * stages],
        "strides": [list(size) for size in arguments.steps],
        "n_conv_per_stage_decoder": list(arguments.decoder or (1 if residual else 2,) * (stages - 1)),
        "conv_bias": arguments.bias,
        "norm_op": _NORM[arguments.norm][ndim],
        "norm_op_kwargs": {"eps": arguments.eps, "affine": arguments.affine},
        "dropout_op": None if arguments.dropout is None else _DROPOUT[ndim],
        "dropout_op_kwargs": None if arguments.dropout is None else {"p": arguments.dropout},
        "nonlin": _NONLINEARITY[arguments.nonlinearity],
        "nonlin_kwargs": {"inplace": True},
    }
    depth = list(arguments.encoder or (2,) * stages)
    if residual:
        return ResidualEncoderUNet(n_blocks_per_stage=depth, **shared)
    return PlainConvUNet(n_conv_per_stage=depth, **shared)


def _without_aliases(network: PlainConvUNet | ResidualEncoderUNet) -> nn.Module:
    """Leave each layer one name: theirs have two or four, and would be stored as often."""
    for module in list(network.modules()):
        if isinstance(module, ConvDropoutNormReLU):
            for name in set(module._modules) - {"all_modules"}:
                delattr(module, name)
    # Read to build the decoder, never to run it.
    del network.decoder.encoder
    return network


def build(n_channels: int, n_classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    """Build the folds with random weights."""
    return Nnunet(n_channels, n_classes, NnunetArguments.model_validate(arguments))


def geometry(arguments: Mapping[str, Any]) -> Geometry:
    """Multiply the strides; every score depends on the whole tile, whose statistics normalise each layer."""
    settings = NnunetArguments.model_validate(arguments)
    stride = [1] * settings.ndim
    for step in settings.steps:
        stride = [whole * factor for whole, factor in zip(stride, step, strict=True)]
    return Geometry(stride=tuple(stride), receptive_field=None, margin=(0,) * settings.ndim)
