"""A decimated look at a raster scene, for previews."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.box import Box
from tasks.scenes.raster import RasterScene

# A preview is about this many pixels wide.
_WIDEST = 560

# Names that bands have, as far as they make a picture in natural colours.
_NATURAL = (("TCI_R", "TCI_G", "TCI_B"), ("B04", "B03", "B02"), ("B4", "B3", "B2"), ("red", "green", "blue"))


@dataclass(frozen=True)
class RasterPicture:
    """Every ``step``-th pixel of a scene.

    Attributes:
        image: Float32 ``(rows, cols, 3)``, physical values of three bands.
        observed: Bool ``(rows, cols)``.
        mask: ``(rows, cols)``.
        step: Pixels of the scene per pixel of the picture.
    """

    image: NDArray[np.float32]
    observed: NDArray[np.bool_]
    mask: NDArray[Any]
    step: int


def read_picture(
    scene: RasterScene, channels: tuple[str, ...], read_mask: Callable[[Box], NDArray[Any]]
) -> RasterPicture:
    """Read a lattice of pixels in short strips; memory does not grow with the scene's height.

    Args:
        scene: The raster.
        channels: Names of its bands; natural colours are taken where they are there, else the first bands.
        read_mask: Reads a window of the mask.
    """
    rows, cols = scene.frame.native_shape
    step = max(1, -(-max(rows, cols) // _WIDEST))
    bands = _colours(channels)
    images, observed, masks = [], [], []
    with scene.open() as reader:
        for row in range(step // 2, rows, step):
            box = Box((row, 0), (row + 1, cols))
            values, seen = reader.read(box)
            images.append(values[bands, 0, step // 2 :: step].T)
            observed.append(seen[0, step // 2 :: step])
            masks.append(read_mask(box)[0, step // 2 :: step])
    return RasterPicture(np.stack(images), np.stack(observed), np.stack(masks), step)


def _colours(channels: tuple[str, ...]) -> list[int]:
    for names in _NATURAL:
        if set(names) <= set(channels):
            return [channels.index(name) for name in names]
    return [min(k, len(channels) - 1) for k in range(3)]
