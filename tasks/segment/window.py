"""What a tile sees: a window of the scene, normalised, and what lies beyond its edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.normalization import ResolvedNormalization, normalise
from models.position import positions
from tasks.geometry.box import Box
from tasks.scenes.scene import SceneReader
from tasks.segment.placement import ON_STRIDE, Placement


@dataclass(frozen=True)
class Strip:
    """A normalised window.

    Attributes:
        inputs: Float32 ``(channels, *window.shape)``; 0, the mean, where nothing was observed. Positions come last.
        inside: The part of the scene that was read.
        observed: Bool ``inside.shape``.
    """

    inputs: NDArray[np.float32]
    inside: Box
    observed: NDArray[np.bool_]


def read_normalised(
    reader: SceneReader,
    window: Box,
    shape: tuple[int, ...],
    normalization: ResolvedNormalization | None,
    *,
    placement: Placement = ON_STRIDE,
    position: bool = False,
) -> Strip:
    """Read ``window``, which may reach beyond the scene, normalised.

    Args:
        reader: An open scene.
        window: In the model grid.
        shape: Of the model grid.
        normalization: The numbers to normalise with; None leaves values as they are.
        placement: Of the tiles: it says what they see beyond the scene.
        position: Whether the network sees where a pixel lies.
    """
    inside = placement.seen(window, shape)
    image, observed = reader.read(inside)
    # In place: memory that is touched for the first time costs more than the arithmetic.
    inputs = image if normalization is None else normalise(image, normalization, out=image)
    if not observed.all():
        inputs[:, ~observed] = 0
    if position:
        inputs = np.concatenate([inputs, positions(inside.start, inside.stop, shape)])
    if inside != window:
        inputs = placement.filled(inputs, inside, window, shape)
    return Strip(inputs, inside, observed)
