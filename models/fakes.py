"""Predictors without a network: for tests, smoke runs, and timing everything but the network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.predictor import PredictorSpec


@dataclass(frozen=True)
class IdentityPredictor:
    """Scores 1 for the class whose number the first channel holds, so that the mask equals the input.

    Attributes:
        n_classes: Numbers from 0 that the input may hold.
        ndim: Spatial axes of a tile.
    """

    n_classes: int = 255
    ndim: int = 2

    @property
    def spec(self) -> PredictorSpec:
        """One channel, stride 1, each score of its own pixel."""
        ones = (1,) * self.ndim
        return PredictorSpec(1, self.n_classes, ones, (0,) * self.ndim, ones)

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return one-hot scores ``(tiles, classes, *tile)`` of the rounded first channel."""
        classes = np.arange(self.n_classes, dtype=np.float32).reshape((1, -1) + (1,) * self.ndim)
        scores: NDArray[np.float32] = (np.rint(batch[:, :1]) == classes).astype(np.float32)
        return scores


@dataclass(frozen=True)
class ThresholdPredictor:
    """Class 1 where a channel exceeds a value, class 0 elsewhere.

    Attributes:
        threshold: Physical value; the card of this predictor does not normalise.
        channel: Which channel to compare.
        n_channels: Channels of a tile.
        ndim: Spatial axes of a tile.
    """

    threshold: float
    channel: int = 0
    n_channels: int = 1
    ndim: int = 2

    @property
    def spec(self) -> PredictorSpec:
        """Two classes, stride 1, each score of its own pixel."""
        ones = (1,) * self.ndim
        return PredictorSpec(self.n_channels, 2, ones, (0,) * self.ndim, ones)

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return scores 0 or 1 ``(tiles, 2, *tile)``."""
        above = (batch[:, self.channel] > self.threshold).astype(np.float32)
        return np.stack([1 - above, above], axis=1)
