"""Simple methods that a network has to beat on the same scenes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from tasks.jobs.training import Baseline
from tasks.training.labelled import LabelledScene


def baseline_mask(method: Baseline, scene: LabelledScene) -> NDArray[np.uint8]:
    """Return classes 0 and 1 of a scene on the model grid, 255 where it is not valid."""
    band = scene.image[method.channel]
    value = float(threshold_otsu(band[scene.valid])) if method.value is None else method.value
    marked = band > value if method.side == "above" else band <= value
    return np.where(scene.valid, marked.astype(np.uint8), np.uint8(255))
