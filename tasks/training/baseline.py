"""Simple methods that a network has to beat on the same scenes."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from tasks.jobs.training import Baseline
from tasks.training.labelled import LabelledScene
from tasks.training.scores import Overlaps

# As many as skimage takes by itself.
_BINS = 256


def baseline_overlaps(method: Baseline, scene: LabelledScene, n_classes: int) -> Overlaps:
    """Return how classes 0 and 1 of a simple method agree with a scene's labels on the model grid."""
    value = _otsu(scene, method.channel) if method.value is None else method.value
    overlaps = Overlaps(n_classes)
    for window in scene.windows():
        band = window.image[method.channel]
        marked = (band > value if method.side == "above" else band <= value).astype(np.uint8)
        overlaps.look_at(np.where(window.valid, marked, np.uint8(255)), window.labels)
    return overlaps


def _otsu(scene: LabelledScene, channel: int) -> float:
    """Return Otsu's threshold of a channel, from a histogram that is made window by window."""

    def observed() -> Iterator[NDArray[np.float32]]:
        pieces = (window.image[channel][window.valid] for window in scene.windows())
        return (values for values in pieces if values.size)

    low, high = math.inf, -math.inf
    for values in observed():
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    if low == high:
        return low
    counts, edges = np.zeros(_BINS, np.int64), np.linspace(low, high, _BINS + 1)
    for values in observed():
        counts += np.histogram(values, _BINS, (low, high))[0]
    return float(threshold_otsu(hist=(counts, (edges[1:] + edges[:-1]) / 2)))
