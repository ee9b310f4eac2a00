"""Where in its scene a pixel lies, as input of a network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def positions(start: tuple[int, ...], stop: tuple[int, ...], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return per axis how far each pixel centre lies from the middle of its scene: -1 in the middle, 1 at the edge.

    A function of the scene's own coordinates, so that it does not depend on the window.

    Args:
        start: First pixel of the window, inside the scene.
        stop: One past its last.
        shape: Of the scene.

    Returns:
        Float32 ``(axes, *(stop - start))``.
    """
    sides = []
    for axis, (first, end, length) in enumerate(zip(start, stop, shape, strict=True)):
        from_middle = np.abs(2 * (np.arange(first, end) + 0.5) / length - 1)
        sides.append((2 * from_middle - 1).reshape([-1 if axis == k else 1 for k in range(len(shape))]))
    return np.stack(np.broadcast_arrays(*sides)).astype(np.float32)
