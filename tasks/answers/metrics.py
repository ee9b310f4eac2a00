"""Agreement of two masks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def dice(
    predicted: NDArray[np.integer[Any]], reference: NDArray[np.integer[Any]], label: int, not_observed: int = 255
) -> float:
    """Return ``2 |A and B| / (|A| + |B|)`` of one class over the pixels that the prediction observed.

    NaN where neither mask holds the class.

    Args:
        predicted: Class numbers.
        reference: Class numbers of the same shape.
        label: The class.
        not_observed: Value of the prediction that is left out.
    """
    observed = predicted != not_observed
    ours, theirs = (predicted == label) & observed, (reference == label) & observed
    total = int(ours.sum()) + int(theirs.sum())
    return 2 * int((ours & theirs).sum()) / total if total else float("nan")
