"""VGG-16 (Simonyan & Zisserman 2015, arXiv 1409.1556) as torchvision has it; its dense layers are convolutions."""

from __future__ import annotations

from collections import OrderedDict

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from torch import nn
from torchvision.models.vgg import make_layers

from models.networks.reach import Interval, convolved, pooled


class VggArguments(BaseModel):
    """What a card says about the VGG inside a network.

    Attributes:
        widths: Channels of each stage; a pooling by 2 ends it.
        depths: Convolutions of each stage.
        batch_norm: Behind every convolution of a stage.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    widths: tuple[PositiveInt, ...] = Field(default=(64, 128, 256, 512, 512), min_length=1)
    depths: tuple[PositiveInt, ...] = (2, 2, 3, 3, 3)
    batch_norm: bool = False

    @model_validator(mode="after")
    def _one_depth_for_each_width(self) -> VggArguments:
        if len(self.depths) != len(self.widths):
            raise ValueError(f"{len(self.widths)} widths need {len(self.widths)} depths")
        return self


class DenseVggArguments(VggArguments):
    """The same with the dense layers, which are convolutions here.

    Attributes:
        widths: Channels of the five stages.
        depths: Convolutions of the five stages.
        dense_width: Channels of fc6 and fc7.
        dense_kernel: Length of fc6, odd.
        dropout: Share of the values behind fc6 and fc7 that training leaves out.
    """

    widths: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (64, 128, 256, 512, 512)
    depths: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (2, 2, 3, 3, 3)
    dense_width: PositiveInt = 4096
    dense_kernel: PositiveInt = 7
    dropout: float = Field(default=0.5, ge=0, lt=1)

    @model_validator(mode="after")
    def _dense_layers_have_a_middle(self) -> DenseVggArguments:
        if self.dense_kernel % 2 == 0:
            raise ValueError("dense_kernel is odd, so that scores lie where their pixels lie")
        return self


def vgg_features(n_channels: int, arguments: VggArguments) -> nn.Sequential:
    """Build the stages; weights of ``torchvision.models.vgg16().features`` fit when there are three channels."""
    plan: list[int | str] = []
    for width, depth in zip(arguments.widths, arguments.depths, strict=True):
        plan += [width] * depth + ["M"]
    features: nn.Sequential = make_layers(plan, batch_norm=arguments.batch_norm)
    features[0] = nn.Conv2d(n_channels, arguments.widths[0], 3, padding=1)
    start_rectified(features)
    return features


def dense_layers(arguments: DenseVggArguments, dilation: int = 1) -> nn.Sequential:
    """Build fc6 and fc7 as convolutions over the last stage (Long et al. 2015, 3.1)."""
    kernel, width = arguments.dense_kernel, arguments.dense_width
    padding = dilation * (kernel // 2)
    fc6 = nn.Conv2d(arguments.widths[-1], width, kernel, padding=padding, dilation=dilation)
    layers = OrderedDict[str, nn.Module](
        fc6=fc6,
        relu6=nn.ReLU(inplace=True),
        drop6=nn.Dropout(arguments.dropout),
        fc7=nn.Conv2d(width, width, 1),
        relu7=nn.ReLU(inplace=True),
        drop7=nn.Dropout(arguments.dropout),
    )
    dense = nn.Sequential(layers)
    start_rectified(dense)
    return dense


def start_rectified(network: nn.Module) -> None:
    """Draw weights so that the values keep their size through rectifiers (He et al. 2015, 2.2); biases are zero."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def stages_read(interval: Interval, depths: tuple[int, ...]) -> Interval:
    """Return the input pixels that an interval behind the last of some stages depends on."""
    for depth in reversed(depths):
        interval = convolved(pooled(interval, 2), 2 * depth + 1)
    return interval
