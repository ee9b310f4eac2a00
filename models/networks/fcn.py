"""FCN-32s, FCN-16s and FCN-8s over VGG-16 (Long et al. 2015, arXiv 1411.4038); two dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import model_validator
from torch import Tensor, nn

from models.networks.geometry import Geometry
from models.networks.reach import Interval, convolved, diameter, union
from models.networks.upsampling import Upsampling, bilinear_kernel, cells_read, upsampler
from models.networks.vgg import DenseVggArguments, dense_layers, stages_read, vgg_features

_COARSEST = 5


class FcnArguments(DenseVggArguments):
    """What a card says about an FCN.

    Attributes:
        output_stride: 32 without skips, 16 with the scores of the fourth pooling, 8 with those of the third too. The
            names ``fcn32s``, ``fcn16s`` and ``fcn8s`` say it.
        upsampling: Of the scores. Transposed convolutions begin bilinearly; the last of them stays so (3.3, 4.3).
    """

    output_stride: Literal[8, 16, 32] = 8
    upsampling: Upsampling = "transposed_convolution"

    @model_validator(mode="after")
    def _scores_were_not_pooled(self) -> FcnArguments:
        if self.upsampling == "max_unpooling":
            raise ValueError(
                "upsampling 'max_unpooling' needs the indices of a pooling, and an FCN upsamples scores, which were "
                "never pooled; take another, or segnet"
            )
        return self

    @property
    def finest(self) -> int:
        """The stage whose pooling the last skip comes from."""
        return self.output_stride.bit_length() - 1


class Fcn(nn.Module):
    """Maps ``(batch, n_channels, rows, cols)`` to logits ``(batch, n_classes, rows, cols)``; multiples of 32.

    The original pads the image by 100 pixels, so that fc6 without padding has something to read, and crops the scores
    by offsets. Here fc6 is padded by half its length: scores lie over their pixels without a crop, an image shifted by
    the stride gives scores shifted by the stride, and nothing is computed of which all is zero. Scores differ from the
    original's only where the receptive field meets the image's edge.

    Args:
        n_channels: Input channels.
        n_classes: Output channels.
        arguments: Everything else.
    """

    def __init__(self, n_channels: int, n_classes: int, arguments: FcnArguments) -> None:
        super().__init__()
        self.features = vgg_features(n_channels, arguments)
        self.dense = dense_layers(arguments)
        skipped = reversed(arguments.widths[arguments.finest - 1 : -1])
        self.score = nn.ModuleList(nn.Conv2d(n, n_classes, 1) for n in (arguments.dense_width, *skipped))
        steps = [2] * (_COARSEST - arguments.finest) + [arguments.output_stride]
        self.rise = nn.ModuleList(
            upsampler(arguments.upsampling, n_classes, n_classes, (step, step), bilinear_start=True) for step in steps
        )
        self.rise[-1].requires_grad_(requires_grad=False)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits."""
        pools: list[Tensor] = []
        features = image
        for layer in self.features:
            features = layer(features)
            if isinstance(layer, nn.MaxPool2d):
                pools.append(features)
        scores: Tensor = self.score[0](self.dense(features))
        for score, rise, pool in zip(self.score[1:], self.rise, reversed(pools[:-1]), strict=False):
            scores = rise(scores) + score(pool)
        logits: Tensor = self.rise[-1](scores)
        return logits


def build(n_channels: int, n_classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    """Build an FCN with random weights."""
    return Fcn(n_channels, n_classes, FcnArguments.model_validate(arguments))


def geometry(arguments: Mapping[str, Any]) -> Geometry:
    """Add up the layers along the paths; the stride is that of the fifth pooling whatever the skips."""
    settings = FcnArguments.model_validate(arguments)

    def read(interval: Interval) -> Interval:
        return _read(settings, _cells(settings, interval, settings.output_stride), settings.finest)

    stride = 2**_COARSEST
    return Geometry(stride=(stride, stride), receptive_field=(diameter(read, stride),) * 2, margin=(0, 0))


def _read(settings: FcnArguments, interval: Interval, stage: int) -> Interval:
    if stage == _COARSEST:
        return stages_read(convolved(interval, settings.dense_kernel), settings.depths)
    coarser = _read(settings, _cells(settings, interval, 2), stage + 1)
    return union(coarser, stages_read(interval, settings.depths[:stage]))


def _cells(settings: FcnArguments, interval: Interval, step: int) -> Interval:
    return cells_read(settings.upsampling, interval, step, bilinear_kernel(step))
