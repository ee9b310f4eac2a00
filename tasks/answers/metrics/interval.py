"""How far the mean of a few scenes may be off."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Of fewer, resampling says less than it seems to.
LEAST_FOR_INTERVAL = 10
_RESAMPLES = 10_000
_LEVEL = 0.95


def mean_interval(values: NDArray[np.float64], seed: int = 0) -> tuple[float, float] | None:
    """Return the 95 % interval of a mean, by the percentiles of 10,000 resamples (Efron 1979); None for fewer than 10.

    Args:
        values: One per scene, ``(n,)``, without NaN.
        seed: Of the resamples.
    """
    if len(values) < LEAST_FOR_INTERVAL:
        return None
    drawn = np.random.default_rng(seed).integers(len(values), size=(_RESAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), [50 * (1 - _LEVEL), 50 * (1 + _LEVEL)])
    return float(low), float(high)
