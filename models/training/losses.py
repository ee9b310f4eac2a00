"""What a fit minimises."""

from __future__ import annotations

import torch
from monai.losses.dice import DiceLoss
from torch import Tensor, nn
from torch.nn import functional

from models.training.crops import IGNORED


class MaskedDiceCrossEntropy(torch.nn.Module):
    """Soft Dice of the classes but background, over the whole batch, plus cross-entropy; ``IGNORED`` does not count."""

    def __init__(self) -> None:
        super().__init__()
        self.dice = DiceLoss(include_background=False, batch=True)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return a scalar.

        Args:
            logits: Float ``(batch, classes, *crop)``.
            labels: Int64 ``(batch, *crop)``.
        """
        logits = logits.float()
        valid = labels != IGNORED
        count = valid.sum().clamp_min(1)
        entropy = functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum") / count
        one_hot = functional.one_hot(torch.where(valid, labels, 0), logits.shape[1]).movedim(-1, 1)
        weight = valid[:, None]
        dice: Tensor = self.dice(logits.softmax(1) * weight, one_hot * weight)
        return dice + entropy


def scores_loss(criterion: nn.Module, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of a network that maps images to scores."""
    loss: Tensor = criterion(network(images), labels)
    return loss
