"""DeepLabV3+ (Chen 2018) of segmentation-models-pytorch with a shallow ResNet; two dimensions, batch norm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import segmentation_models_pytorch as smp
from pydantic import BaseModel, ConfigDict, PositiveInt
from torch import nn

from models.networks.encoders import Encoder, building, drop_uncalled
from models.networks.geometry import Geometry


class DeeplabArguments(BaseModel):
    """What a card says about a DeepLabV3+.

    Attributes:
        encoder: Of segmentation-models-pytorch.
        depth: Stages of the encoder; 4 leaves out ResNet's last, which holds three quarters of its weights.
        decoder: Channels of the pyramid and the decoder.
        rates: Dilations of the pyramid.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: Encoder = "resnet18"
    depth: Literal[4, 5] = 4
    decoder: PositiveInt = 128
    rates: tuple[PositiveInt, PositiveInt, PositiveInt] = (6, 12, 18)


def build(n_channels: int, n_classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    """Build a DeepLabV3+ with random weights that maps images to logits of the same size."""
    settings = DeeplabArguments.model_validate(arguments)
    with building(settings.encoder):
        network: nn.Module = smp.DeepLabV3Plus(
            encoder_name=settings.encoder,
            encoder_depth=settings.depth,
            encoder_weights=None,
            decoder_channels=settings.decoder,
            decoder_atrous_rates=settings.rates,
            in_channels=n_channels,
            classes=n_classes,
        )
    drop_uncalled(network, settings.encoder, settings.depth)
    return network


def geometry(arguments: Mapping[str, Any]) -> Geometry:
    """Return stride 16; the pyramid's image pooling looks at the whole tile."""
    DeeplabArguments.model_validate(arguments)
    return Geometry(stride=(16, 16), receptive_field=None, margin=(0, 0))
