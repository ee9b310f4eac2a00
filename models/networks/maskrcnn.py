"""Mask R-CNN (He et al. 2017, arXiv 1703.06870) of torchvision over a ResNet with a feature pyramid; two dimensions.

Names and shapes of the weights are torchvision's. Its own resizing and normalising is left out: a tile is seen as it
is, already normalised as the card says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops.misc import FrozenBatchNorm2d

from models.networks.geometry import Geometry

# Of the coarsest map that goes through the backbone; torchvision fills images up to it.
_STRIDE = 32
_TRAINED_LAYERS = 5
_ASPECTS = (0.5, 1.0, 2.0)

_Share = Annotated[float, Field(ge=0, le=1)]
_Side = Annotated[int, Field(ge=1)]


class MaskrcnnArguments(BaseModel):
    """What a card says about a Mask R-CNN.

    Attributes:
        backbone: ResNet below the pyramid.
        norm: Of the backbone: ``batch``, or ``frozen`` as in torchvision's published weights, whose epsilon is 0.
        anchors: Sides of the anchors in pixels, one per level of the pyramid from the finest, at 1:2, 1:1 and 2:1.
        score_threshold: What is less certain is no object.
        nms: Of two boxes of one class that overlap by more (intersection over union) the less certain is dropped.
        detections_per_tile: Only the most certain ones are kept.
        boxes_per_crop: In a fit, how many proposals of a crop are judged; fewer are quicker.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: Literal["resnet18", "resnet34", "resnet50", "resnet101"] = "resnet50"
    norm: Literal["batch", "frozen"] = "batch"
    anchors: tuple[_Side, _Side, _Side, _Side, _Side] = (32, 64, 128, 256, 512)
    score_threshold: _Share = 0.5
    nms: _Share = 0.5
    detections_per_tile: Annotated[int, Field(ge=1)] = 100
    boxes_per_crop: Annotated[int, Field(ge=1)] = 512


class AsItIs(GeneralizedRCNNTransform):  # type: ignore[misc]
    """Leaves images as they are, and masks where their boxes are.

    What the network gives in evaluation are boxes ``(n, 4)``, labels, scores, and masks ``(n, 1, 28, 28)`` of
    probabilities over the boxes; ``models.predictors.objects`` pastes them one by one, torchvision all at once.
    """

    def __init__(self) -> None:
        super().__init__(min_size=0, max_size=0, image_mean=[], image_std=[], size_divisible=_STRIDE)

    def normalize(self, image: Tensor) -> Tensor:
        """Return the image."""
        return image

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Return image and target."""
        return image, target

    def postprocess(
        self,
        result: list[dict[str, Tensor]],
        image_shapes: list[tuple[int, int]],
        original_image_sizes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        """Return the objects."""
        return result


def build(n_channels: int, n_classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    """Build a Mask R-CNN with random weights.

    In training it maps a list of images ``(channels, rows, cols)`` and their targets to torchvision's five losses; in
    evaluation a list of images to the dictionaries that ``AsItIs`` describes.
    """
    settings = MaskrcnnArguments.model_validate(arguments)
    norms: dict[str, Callable[..., nn.Module]] = {
        "batch": nn.BatchNorm2d,
        "frozen": partial(FrozenBatchNorm2d, eps=0.0),
    }
    backbone = resnet_fpn_backbone(
        backbone_name=settings.backbone,
        weights=None,
        norm_layer=norms[settings.norm],
        trainable_layers=_TRAINED_LAYERS,
    )
    first = backbone.body.conv1
    if n_channels != first.in_channels:
        backbone.body.conv1 = nn.Conv2d(
            n_channels, first.out_channels, first.kernel_size, first.stride, first.padding, bias=False
        )
        nn.init.kaiming_normal_(backbone.body.conv1.weight, mode="fan_out", nonlinearity="relu")
    sizes = tuple((side,) for side in settings.anchors)
    network = MaskRCNN(
        backbone,
        n_classes,
        rpn_anchor_generator=AnchorGenerator(sizes, (_ASPECTS,) * len(sizes)),
        box_score_thresh=settings.score_threshold,
        box_nms_thresh=settings.nms,
        box_detections_per_img=settings.detections_per_tile,
        box_batch_size_per_image=settings.boxes_per_crop,
    )
    network.transform = AsItIs()
    found: nn.Module = network
    return found


def geometry(arguments: Mapping[str, Any]) -> Geometry:
    """Return stride 32; proposals are ranked over the whole tile."""
    MaskrcnnArguments.model_validate(arguments)
    return Geometry(stride=(_STRIDE, _STRIDE), receptive_field=None, margin=(0, 0), output="objects")
