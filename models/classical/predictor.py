"""Applies what was fitted to every pixel by itself: the same bits in whatever tile it lies."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from models.classical.chunks import chunks
from models.classical.settings import Centres, Mixture
from models.predictor import PredictorSpec


def pixelwise(n_channels: int, n_classes: int, ndim: int) -> PredictorSpec:
    """Say of a method that each score is one of its own pixel."""
    ones = (1,) * ndim
    return PredictorSpec(
        n_channels=n_channels, n_classes=n_classes, stride=ones, margin=(0,) * ndim, receptive_field=ones
    )


@dataclass(frozen=True)
class ThresholdPredictor:
    """Class 1 where a channel exceeds a value, class 2 where it exceeds the next one; class 0 elsewhere.

    Attributes:
        threshold: Physical value or values, ascending; the card of this predictor does not normalise.
        channel: Which channel to compare.
        n_channels: Channels of a tile.
        ndim: Spatial axes of a tile.
    """

    threshold: float | tuple[float, ...]
    channel: int = 0
    n_channels: int = 1
    ndim: int = 2

    @property
    def _thresholds(self) -> tuple[float, ...]:
        return self.threshold if isinstance(self.threshold, tuple) else (self.threshold,)

    @property
    def spec(self) -> PredictorSpec:
        """One class more than thresholds."""
        return pixelwise(self.n_channels, len(self._thresholds) + 1, self.ndim)

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return scores 0 or 1 ``(tiles, classes, *tile)``."""
        values = batch[:, self.channel]
        above = [np.ones(values.shape, np.float32)]
        above += [(values > np.float32(threshold)).astype(np.float32) for threshold in self._thresholds]
        return np.stack([*(below - beyond for below, beyond in pairwise(above)), above[-1]], axis=1)


@dataclass(frozen=True)
class NearestPredictor:
    """The class whose centre is the nearest, the first one of several: k-means and mean shift."""

    fitted: Centres
    ndim: int = 2

    @property
    def spec(self) -> PredictorSpec:
        """A class per centre."""
        return pixelwise(len(self.fitted.mean), len(self.fitted.centres), self.ndim)

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return scores 0 or 1 ``(tiles, classes, *tile)``."""
        return _per_pixel(batch, len(self.fitted.centres), self._one_hot)

    def _one_hot(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        scaled = _standardised(values, self.fitted)
        distances = np.stack([_squared_sum(scaled, centre) for centre in self.fitted.centres])
        classes = np.arange(len(distances))[:, np.newaxis]
        one_hot: NDArray[np.float64] = (distances.argmin(axis=0) == classes).astype(np.float64)
        return one_hot


@dataclass(frozen=True)
class MixturePredictor:
    """The probability of each Gaussian of a mixture, given the pixel (Bishop 2006, section 9.2)."""

    fitted: Mixture
    ndim: int = 2

    @property
    def spec(self) -> PredictorSpec:
        """A class per Gaussian."""
        return pixelwise(len(self.fitted.mean), len(self.fitted.weights), self.ndim)

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities ``(tiles, classes, *tile)``."""
        return _per_pixel(batch, len(self.fitted.weights), self._posterior)

    def _posterior(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        scaled = _standardised(values, self.fitted)
        log = np.stack([self._log_density(scaled, number) for number in range(len(self.fitted.weights))])
        log -= log.max(axis=0)
        density = np.exp(log)
        posterior: NDArray[np.float64] = density / density.sum(axis=0)
        return posterior

    def _log_density(self, scaled: NDArray[np.float64], number: int) -> NDArray[np.float64]:
        """Return the log of weight times density, less what all classes have in common.

        Sums are written out: a matrix product may add up in another order at the end of an array.
        """
        matrix = self.fitted.precisions_cholesky[number]
        centred = [row - mean for row, mean in zip(scaled, self.fitted.means[number], strict=True)]
        distance = np.zeros(scaled.shape[1])
        for column in range(len(matrix)):
            whitened = np.zeros(scaled.shape[1])
            for row in range(column + 1):
                whitened += centred[row] * matrix[row][column]
            distance += whitened * whitened
        log_determinant = sum(math.log(matrix[k][k]) for k in range(len(matrix)))
        return math.log(self.fitted.weights[number]) + log_determinant - distance / 2


def _per_pixel(
    batch: NDArray[np.float32], n_classes: int, score: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float32]:
    tiles, n_channels, *shape = batch.shape
    scores = np.empty((tiles, n_classes, math.prod(shape)), np.float32)
    for tile, out in zip(batch.reshape(tiles, n_channels, -1), scores, strict=True):
        for part, values in chunks(tile):
            out[:, part] = score(values)[:, : part.stop - part.start]
    return scores.reshape(tiles, n_classes, *shape)


def _standardised(values: NDArray[np.float64], fitted: Centres | Mixture) -> NDArray[np.float64]:
    rows = [(row - mean) / std for row, mean, std in zip(values, fitted.mean, fitted.std, strict=True)]
    return np.stack(rows)


def _squared_sum(scaled: NDArray[np.float64], centre: tuple[float, ...]) -> NDArray[np.float64]:
    total = np.zeros(scaled.shape[1])
    for row, value in zip(scaled, centre, strict=True):
        difference = row - value
        total += difference * difference
    return total
