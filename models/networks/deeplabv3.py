"""DeepLabV3 (Chen 2017) of segmentation-models-pytorch: atrous convolutions and their pyramid; two dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import segmentation_models_pytorch as smp
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import nn

from models.networks.encoders import Encoder, building
from models.networks.geometry import Geometry


class DeeplabV3Arguments(BaseModel):
    """What a card says about a DeepLabV3.

    Attributes:
        encoder: Of segmentation-models-pytorch.
        output_stride: Pixels per pixel of the encoder's coarsest features; 8 is finer and slower.
        decoder: Channels of the pyramid.
        rates: Dilations of the pyramid; the paper halves them with an output stride of 16.
        dropout: Share of channels that are dropped behind the pyramid while it is fitted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: Encoder = "resnet50"
    output_stride: Literal[8, 16] = 8
    decoder: PositiveInt = 256
    rates: tuple[PositiveInt, PositiveInt, PositiveInt] = (12, 24, 36)
    dropout: float = Field(default=0.5, ge=0, lt=1)


def build(n_channels: int, n_classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    """Build a DeepLabV3 with random weights that maps images to logits of the same size."""
    settings = DeeplabV3Arguments.model_validate(arguments)
    with building(settings.encoder):
        network: nn.Module = smp.DeepLabV3(
            encoder_name=settings.encoder,
            encoder_weights=None,
            encoder_output_stride=settings.output_stride,
            decoder_channels=settings.decoder,
            decoder_atrous_rates=settings.rates,
            decoder_aspp_dropout=settings.dropout,
            in_channels=n_channels,
            classes=n_classes,
        )
    return network


def geometry(arguments: Mapping[str, Any]) -> Geometry:
    """Return the output stride; the pyramid's image pooling looks at the whole tile."""
    stride = DeeplabV3Arguments.model_validate(arguments).output_stride
    return Geometry(stride=(stride, stride), receptive_field=None, margin=(0, 0))
