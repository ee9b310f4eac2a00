"""What a fit minimises: losses of MONAI over what is labelled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import torch
from monai.losses.dice import DiceLoss, GeneralizedDiceLoss
from monai.losses.focal_loss import FocalLoss
from monai.losses.tversky import TverskyLoss
from torch import Tensor, nn
from torch.nn import functional

from models.training.crops import IGNORED
from models.training.settings import LossName

# Over the whole batch, of the classes but background; they take probabilities.
_REGIONS: Mapping[str, Callable[[], nn.Module]] = {
    "dice": lambda: DiceLoss(include_background=False, batch=True),
    "generalized_dice": lambda: GeneralizedDiceLoss(include_background=False, batch=True),
    # What is missed weighs more than what is found too much.
    "tversky": lambda: TverskyLoss(include_background=False, batch=True, alpha=0.3, beta=0.7),
}


class MaskedLoss(nn.Module):
    """A loss of regions, one of pixels, or their sum; ``IGNORED`` does not count.

    Args:
        name: Of the parts, regions first.
    """

    def __init__(self, name: LossName) -> None:
        super().__init__()
        region, _, pixels = name.rpartition("_")
        self._region = _REGIONS[region]() if region else None
        self._focal = FocalLoss(use_softmax=True, reduction="none") if pixels == "focal" else None

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return a scalar; 0 with a gradient where nothing is labelled.

        Args:
            logits: Float ``(batch, classes, *crop)``.
            labels: Int64 ``(batch, *crop)``.
        """
        logits = logits.float()
        valid = labels != IGNORED
        count = valid.sum().clamp_min(1)
        one_hot = functional.one_hot(torch.where(valid, labels, 0), logits.shape[1]).movedim(-1, 1)
        weight = valid[:, None]
        if self._focal is None:
            loss = functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum") / count
        else:
            loss = (self._focal(logits, one_hot) * weight).sum() / count
        if self._region is not None:
            loss = loss + self._region(logits.softmax(1) * weight, one_hot * weight)
        return loss


@runtime_checkable
class DeeplySupervised(Protocol):
    """A network that answers at several depths while it is fitted."""

    def at_all_depths(self, image: Tensor) -> list[Tensor]:
        """Return logits, the finest first."""
        ...


def scores_loss(criterion: nn.Module, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of a network that maps images to scores.

    Where it answers at several depths, each weighs half of the one above, the weights are one together, and the deepest
    of three and more does not count, as in nnU-Net (Isensee et al. 2021).
    """
    answers = _answers(network, images)
    weights = [0.5**depth for depth in range(len(answers))]
    if len(weights) > 2:
        weights[-1] = 0.0
    losses = [
        weight / sum(weights) * criterion(logits, _as_coarse(labels, logits))
        for weight, logits in zip(weights, answers, strict=True)
    ]
    return torch.stack(losses).sum()


def _answers(network: nn.Module, images: Tensor) -> list[Tensor]:
    found = network.at_all_depths(images) if isinstance(network, DeeplySupervised) else network(images)
    if isinstance(found, list | tuple):
        return list(found)
    # MONAI's DynUNet lays all depths, of one size, beside each other.
    return list(found.unbind(1)) if found.ndim > images.ndim else [found]


def _as_coarse(labels: Tensor, logits: Tensor) -> Tensor:
    if logits.shape[2:] == labels.shape[1:]:
        return labels
    coarse = functional.interpolate(labels[:, None].float(), logits.shape[2:], mode="nearest-exact")
    return coarse[:, 0].long()
