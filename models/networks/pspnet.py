"""PSPNet (Zhao 2017) of segmentation-models-pytorch: pyramid pooling over a dilated encoder; two dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import segmentation_models_pytorch as smp
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import nn

from models.networks.encoders import Encoder, building, drop_uncalled
from models.networks.geometry import Geometry


class PspnetArguments(BaseModel):
    """What a card says about a PSPNet.

    Attributes:
        encoder: Of segmentation-models-pytorch.
        depth: Stages of the encoder; of fewer than 5 the last ones are left out.
        output_stride: Pixels per pixel of the features under the pyramid, as long as the stages halve the grid; stages
            behind are dilated instead. The paper's is 8.
        decoder: Channels behind the pyramid of 1, 2, 3 and 6 cells.
        dropout: Share of channels that are dropped behind the pyramid while it is fitted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: Encoder = "resnet50"
    depth: Literal[3, 4, 5] = 5
    output_stride: Literal[8, 16, 32] = 8
    decoder: PositiveInt = 512
    dropout: float = Field(default=0.2, ge=0, lt=1)

    @property
    def stride(self) -> int:
        """Pixels of the image per pixel under the pyramid."""
        return min(self.output_stride, 1 << self.depth)


def build(n_channels: int, n_classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    """Build a PSPNet with random weights that maps images to logits of the same size."""
    settings = PspnetArguments.model_validate(arguments)
    with building(settings.encoder):
        network: nn.Module = smp.PSPNet(
            encoder_name=settings.encoder,
            encoder_depth=settings.depth,
            encoder_weights=None,
            psp_out_channels=settings.decoder,
            psp_dropout=settings.dropout,
            in_channels=n_channels,
            classes=n_classes,
            upsampling=settings.stride,
            output_stride=settings.output_stride,
        )
    drop_uncalled(network, settings.encoder, settings.depth)
    return network


def geometry(arguments: Mapping[str, Any]) -> Geometry:
    """Return the stride under the pyramid, whose coarsest cell is the whole tile."""
    stride = PspnetArguments.model_validate(arguments).stride
    return Geometry(stride=(stride, stride), receptive_field=None, margin=(0, 0))
