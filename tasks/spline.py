"""Cubic spline interpolation as a sum over neighbours, so that no pixel depends on where a window was cut."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# The pole of the cubic spline's prefilter (Unser 1999, "Splines: a perfect fit", table 1).
_POLE = np.sqrt(3.0) - 2.0
# What lies further away weighs less than float32 can tell.
_REACH = 12


def cardinal_weights(fraction: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Weigh the samples round points between two of them, as the interpolating cubic spline does.

    The spline's coefficients are the samples filtered with ``sqrt(3) * pole ** abs(k)`` (Unser 1999, "Splines: a
    perfect fit for signal and image processing", section on B-spline interpolation); what the two steps, filtering
    and evaluating, make of each sample is summed here.

    Args:
        fraction: How far each point lies above the sample below it, 0 to 1; ``(points,)``.

    Returns:
        Offsets ``(taps,)`` from the sample below, that sample first, and weights ``(taps, points)``, which sum to one.
    """
    offsets = np.arange(-_REACH, _REACH + 2)
    offsets = offsets[np.argsort(np.abs(offsets), kind="stable")]
    knots = np.arange(-1, 3)
    filtered = np.sqrt(3.0) * _POLE ** np.abs(offsets[:, np.newaxis] - knots)
    weights = filtered @ _cubic(np.abs(fraction - knots[:, np.newaxis]))
    return offsets.astype(np.intp), weights / weights.sum(axis=0)


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evaluate the centred cubic B-spline."""
    near = 2.0 / 3.0 - distance**2 + distance**3 / 2.0
    far = np.maximum(2.0 - distance, 0.0) ** 3 / 6.0
    return np.where(distance < 1.0, near, far)
