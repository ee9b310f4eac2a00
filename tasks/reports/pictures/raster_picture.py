"""A decimated look at a raster scene, for previews."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.answers.area import PixelAreas
from tasks.geometry.box import Box, split
from tasks.geometry.raster_grid import RasterGrid
from tasks.scenes.raster.scene import RasterScene

# A preview is about this many pixels wide; of a narrow strip so many are taken across, where it has them.
_WIDEST = 560
_THINNEST = 48
# Whole chunks of the block store: one row costs as much to read as all rows of its chunks.
_WINDOW = (512, 4096)

# Names that bands have, as far as they make a picture in natural colours.
_NATURAL = (("TCI_R", "TCI_G", "TCI_B"), ("B04", "B03", "B02"), ("B4", "B3", "B2"), ("red", "green", "blue"))


@dataclass(frozen=True)
class RasterPicture:
    """A lattice of a scene's pixels.

    Attributes:
        image: Float32 ``(rows, cols, 3)``, physical values of three bands.
        observed: Bool ``(rows, cols)``.
        mask: ``(rows, cols)``.
        pixel_m: Size of a pixel of the picture on the ground, ``rows, cols``, in the middle of the scene; in pixels of
            the scene where it is not tied to the Earth.
    """

    image: NDArray[np.float32]
    observed: NDArray[np.bool_]
    mask: NDArray[Any]
    pixel_m: tuple[float, float]


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
    steps = steps_of((rows, cols))
    down, across = steps
    bands = _colours(channels)
    images, observed = [], []
    with scene.open() as reader:
        for row in range(down // 2, rows, down):
            box = Box((row, 0), (row + 1, cols))
            values, seen = reader.read(box)
            images.append(values[bands, 0, across // 2 :: across].T)
            observed.append(seen[0, across // 2 :: across])
    mask = sparse_mask((rows, cols), read_mask)
    side = pixel_side_m(scene.grid)
    return RasterPicture(np.stack(images), np.stack(observed), mask, (side * down, side * across))


def steps_of(shape: tuple[int, int]) -> tuple[int, int]:
    """Return how many rows and columns of a raster lie between those that a picture shows.

    They are equal but for strips, of which as many rows or columns are shown as can be told apart.
    """
    step = max(1, -(-max(shape) // _WIDEST))
    rows, cols = (max(1, min(step, length // _THINNEST)) for length in shape)
    return rows, cols


def sparse_mask(shape: tuple[int, int], read_mask: Callable[[Box], NDArray[Any]]) -> NDArray[Any]:
    """Read the pixels of a mask that a picture of it shows.

    Args:
        shape: Rows and columns of the mask.
        read_mask: Reads a window of it.
    """
    steps = steps_of(shape)
    rows, cols = (len(range(step // 2, length, step)) for length, step in zip(shape, steps, strict=True))
    picture = np.zeros((rows, cols), read_mask(Box((0, 0), (1, 1))).dtype)
    for box in split(shape, _WINDOW):
        axes = zip(box.start, box.stop, steps, strict=True)
        taken, given = zip(*(_lattice(*axis) for axis in axes), strict=True)
        picture[given] = read_mask(box)[taken]
    return picture


def _lattice(start: int, stop: int, step: int) -> tuple[slice, slice]:
    """Return the lattice's pixels in ``[start, stop)``: as seen from ``start``, and as numbers of the picture's."""
    first, end = (-(-(edge - step // 2) // step) for edge in (start, stop))
    return slice(first * step + step // 2 - start, None, step), slice(first, end)


def _colours(channels: tuple[str, ...]) -> list[int]:
    for names in _NATURAL:
        if set(names) <= set(channels):
            return [channels.index(name) for name in names]
    return [min(k, len(channels) - 1) for k in range(3)]


def pixel_side_m(grid: RasterGrid) -> float:
    """Return the side of the middle pixel on the ground; 1 where the raster is not tied to the Earth."""
    areas = PixelAreas(grid)
    if areas.reason is not None:
        return 1.0
    row, col = (n // 2 for n in grid.shape)
    return float(np.sqrt(areas.window(Box((row, col), (row + 1, col + 1))).item())) or 1.0
