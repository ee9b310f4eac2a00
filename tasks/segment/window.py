"""What a tile sees: a window of the scene, reflected at its edges or set in zeros, and normalised."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.card import Beyond, Placement
from models.normalization import ResolvedNormalization, normalise
from models.position import positions
from tasks.geometry.box import Box
from tasks.scenes.scene import SceneReader


def reflect(start: int, stop: int, length: int) -> NDArray[np.intp]:
    """Return the pixel that stands for each of ``[start, stop)``, mirrored at the edge pixels' centres.

    The same as ``numpy.pad(mode="reflect")``, but in the scene's coordinates, so that it does not depend on the window.
    """
    index = np.arange(start, stop)
    if length == 1:
        return np.zeros_like(index)
    period = 2 * (length - 1)
    folded = np.mod(index, period)
    mirrored: NDArray[np.intp] = np.minimum(folded, period - folded)
    return mirrored


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


def read_normalised(  # noqa: PLR0913 - where, what with, and what lies beyond
    reader: SceneReader,
    window: Box,
    shape: tuple[int, ...],
    normalization: ResolvedNormalization | None,
    *,
    position: bool = False,
    placement: Placement = "stride",
    beyond: Beyond = "zeros",
) -> Strip:
    """Read ``window``, which may reach beyond the scene, normalised.

    Args:
        reader: An open scene.
        window: In the model grid.
        shape: Of the model grid.
        normalization: The numbers to normalise with; None leaves values as they are.
        position: Whether the network sees where a pixel lies.
        placement: Of the tiles: beyond the scene they see it mirrored, or ``beyond`` where not laid by the stride.
        beyond: Zeros, or the pixels at the scene's edge.
    """
    indices = [reflect(a, b, n) for a, b, n in zip(window.start, window.stop, shape, strict=True)]
    mirrored = Box(tuple(int(i.min()) for i in indices), tuple(int(i.max()) + 1 for i in indices))
    inside = mirrored if placement == "stride" else window.intersection(Box.of_shape(shape))
    image, observed = reader.read(inside)
    # In place: memory that is touched for the first time costs more than the arithmetic.
    inputs = image if normalization is None else normalise(image, normalization, out=image)
    if not observed.all():
        inputs[:, ~observed] = 0
    if position:
        inputs = np.concatenate([inputs, positions(inside.start, inside.stop, shape)])
    if inside != window and placement != "stride":
        return Strip(_padded(inputs, inside, window, beyond), inside, observed)
    if inside != window:
        for axis, index in enumerate(indices):
            inputs = np.take(inputs, index - inside.start[axis], axis=axis + 1)
    return Strip(inputs, inside, observed)


def _padded(inputs: NDArray[np.float32], inside: Box, window: Box, beyond: Beyond) -> NDArray[np.float32]:
    if beyond == "edge":
        sides = zip(inside.start, window.start, window.stop, inside.stop, strict=True)
        widths = [(start - first, stop - last) for start, first, stop, last in sides]
        return np.pad(inputs, [(0, 0), *widths], mode="edge")
    padded = np.zeros((inputs.shape[0], *window.shape), np.float32)
    padded[(slice(None), *inside.relative_to(window.start).slices)] = inputs
    return padded
