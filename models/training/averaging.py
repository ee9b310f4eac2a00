"""The running mean of a network's weights, which is what a fit returns."""

from __future__ import annotations

from functools import partial

import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor


class RunningMean(WeightAveraging):
    """Weights and buffers of a network, averaged over the steps of a fit.

    Args:
        decay: What stays of the mean at each step; 0 for the weights of the last step.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(avg_fn=partial(_follow, decay))


def _follow(decay: float, mean: Tensor, value: Tensor, n_averaged: Tensor | int) -> Tensor:
    if not value.is_floating_point():
        return value
    step = int(n_averaged) + 1
    # Shorter memory at the start, so that the random weights are soon forgotten.
    return torch.lerp(mean, value, 1 - min(decay, step / (step + 10)))
