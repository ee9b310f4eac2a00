"""Panoptic FPN (Kirillov et al. 2019, arXiv 1901.02446): Mask R-CNN and a semantic branch on one feature pyramid.

The pyramid and the branch of objects are those of ``models.networks.maskrcnn``; the semantic branch is the paper's:
every level comes up to a quarter of the image in steps of a 3 x 3 convolution, group norm, ReLU and twofold bilinear
upsampling, levels are summed, and a 1 x 1 convolution and fourfold upsampling give a score per class. It tells all
classes apart, where the paper's puts all things into one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from models.networks import maskrcnn
from models.networks.geometry import Geometry

# Of the pyramid's levels, from the finest: which quarter, eighth, ... of the image they are.
_LEVELS = ("0", "1", "2", "3")
_FINEST = 4
_GROUPS = 32
_IGNORED = 255


class PanopticFpnArguments(maskrcnn.MaskrcnnArguments):
    """What a card says about a Panoptic FPN, beside what it says about a Mask R-CNN.

    Attributes:
        width: Channels of the semantic branch, a multiple of 32.
        semantic_weight: Of the semantic loss in the sum of all: the paper's lambda.
    """

    width: Annotated[int, Field(ge=_GROUPS, multiple_of=_GROUPS)] = 128
    semantic_weight: Annotated[float, Field(gt=0)] = 0.5


class SemanticBranch(nn.Module):
    """From the pyramid to a score per class and pixel.

    Args:
        n_features: Channels of every level.
        width: Channels of the branch.
        n_classes: Background included.
    """

    def __init__(self, n_features: int, width: int, n_classes: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(_rise(n_features, width, steps) for steps in range(len(_LEVELS)))
        self.classify = nn.Conv2d(width, n_classes, 1)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return logits ``(batch, classes, rows, cols)``, as large as the image."""
        risen = [level(features[name]) for level, name in zip(self.levels, _LEVELS, strict=True)]
        logits: Tensor = self.classify(torch.stack(risen).sum(0))
        return functional.interpolate(logits, scale_factor=float(_FINEST), mode="bilinear", align_corners=False)


def _rise(n_features: int, width: int, steps: int) -> nn.Sequential:
    """Return so many steps up, each twofold; the finest level has one convolution and stays."""
    layers: list[nn.Module] = []
    for step in range(max(1, steps)):
        layers += [
            nn.Conv2d(n_features if step == 0 else width, width, 3, padding=1, bias=False),
            nn.GroupNorm(_GROUPS, width),
            nn.ReLU(),
        ]
        if steps:
            layers.append(nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False))
    return nn.Sequential(*layers)


class PanopticFpn(nn.Module):
    """Both branches.

    In training it maps a list of images ``(channels, rows, cols)`` and their targets, which have ``semantic`` (int64
    ``rows, cols``, 255 ignored) beside what torchvision wants, to the losses of both. In evaluation it maps a list of
    images to dictionaries of objects, as a Mask R-CNN of ours, with ``semantic``: logits ``(classes, rows, cols)``.

    Args:
        objects: A Mask R-CNN of ``models.networks.maskrcnn``.
        semantic: The branch.
        semantic_weight: Of its loss.
    """

    def __init__(self, objects: nn.Module, semantic: SemanticBranch, semantic_weight: float) -> None:
        super().__init__()
        self.objects: Any = objects
        self.semantic = semantic
        self.semantic_weight = semantic_weight

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:  # noqa: ANN401 - losses or objects
        """Return losses by name, or a dictionary per image."""
        batch, targets = self.objects.transform(images, targets)
        features = self.objects.backbone(batch.tensors)
        proposals, losses = self.objects.rpn(batch, features, targets)
        found, others = self.objects.roi_heads(features, proposals, batch.image_sizes, targets)
        logits = self.semantic(features)
        if targets is not None and self.training:
            return {**losses, **others, "loss_semantic": self._semantic_loss(logits, targets)}
        return [
            {**one, "semantic": scores[:, :rows, :cols]}
            for one, scores, (rows, cols) in zip(found, logits, batch.image_sizes, strict=True)
        ]

    def _semantic_loss(self, logits: Tensor, targets: list[dict[str, Tensor]]) -> Tensor:
        labels = torch.stack([target["semantic"] for target in targets])
        n_valid = (labels != _IGNORED).sum().clamp_min(1)
        cropped = logits[..., : labels.shape[1], : labels.shape[2]].float()
        entropy = functional.cross_entropy(cropped, labels, ignore_index=_IGNORED, reduction="sum")
        return self.semantic_weight * entropy / n_valid


def build(n_channels: int, n_classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    """Build a Panoptic FPN with random weights."""
    settings = PanopticFpnArguments.model_validate(arguments)
    own = {"width", "semantic_weight"}
    objects = maskrcnn.build(n_channels, n_classes, settings.model_dump(exclude=own))
    backbone: Any = objects.backbone
    semantic = SemanticBranch(backbone.out_channels, settings.width, n_classes)
    return PanopticFpn(objects, semantic, settings.semantic_weight)


def geometry(arguments: Mapping[str, Any]) -> Geometry:
    """Return stride 32; proposals are ranked over the whole tile."""
    PanopticFpnArguments.model_validate(arguments)
    whole = maskrcnn.geometry({})
    return Geometry(stride=whole.stride, receptive_field=whole.receptive_field, margin=whole.margin, output="panoptic")
