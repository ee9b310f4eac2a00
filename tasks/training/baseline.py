"""Simple methods that a network has to beat on the same scenes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from tasks.answers.metrics.overlap import dice
from tasks.training.labelled import LabelledScene


@dataclass(frozen=True)
class Baseline:
    """Class 1 on one side of a value of one channel.

    Attributes:
        kind: ``threshold`` takes ``value``; ``otsu`` finds it in each scene (Otsu 1979).
        channel: Number of the channel.
        value: Physical.
        side: Where class 1 lies.
    """

    kind: Literal["threshold", "otsu"]
    channel: int = 0
    value: float = 0.0
    side: Literal["above", "below"] = "above"

    def dice(self, scene: LabelledScene) -> float:
        """Score the method on one scene."""
        band = scene.image[self.channel]
        value = self.value if self.kind == "threshold" else _otsu(band[scene.valid])
        marked = band > value if self.side == "above" else band <= value
        predicted = np.where(scene.valid, marked.astype(np.uint8), np.uint8(255))
        return dice(predicted, scene.labels, 1)


def _otsu(values: NDArray[np.float32]) -> float:
    return float(threshold_otsu(values))
