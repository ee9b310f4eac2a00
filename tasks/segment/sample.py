"""A seeded sample of a scene's valid pixels: the same ones whatever the plan, the block and the workers."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models.card import Card
from tasks.geometry.box import Box, split
from tasks.scenes.scene import Scene, SceneReader
from tasks.segment.features import featured

# A larger scene is looked at through windows of this shape: one, at a seeded place, in each cell of a lattice
# with at most so many cells per axis. Together they hold 17 million pixels, or 67 million voxels.
_WINDOW = {2: (128, 128), 3: (32, 64, 64)}
_CELLS = {2: (32, 32), 3: (8, 8, 8)}
# Where the windows show fewer valid pixels than this, all of the scene is looked at.
_FEW = 10_000
# Pixels kept beyond the size of the sample before the highest ranks are let go.
_SURPLUS = 1 << 17


def sample_features(scene: Scene, card: Card, size: int, seed: int) -> NDArray[np.float32]:
    """Draw pixels without replacement, each valid pixel that is looked at with the same chance.

    A pixel's rank is a hash of the seed and of its place in the scene, and the pixels of the lowest ranks are drawn:
    whoever reads them, in whatever order, draws the same ones.

    Args:
        scene: Its grid is the card's own.
        card: Names the features.
        size: Most pixels.
        seed: Another one draws others.

    Returns:
        ``(pixels, features)``, physical, in the order of their ranks; none where nothing is valid.
    """
    shape = scene.frame.model_shape
    windows = list(_windows(shape, seed))
    seen = sum(math.prod(window.shape) for window in windows)
    with scene.open() as opened:
        reader = featured(opened, card)
        drawn = _lowest(reader, windows, shape=shape, size=size, seed=seed)
        if len(drawn) < min(size, _FEW) and seen < math.prod(shape):
            drawn = _lowest(reader, list(split(shape, _WINDOW[len(shape)])), shape=shape, size=size, seed=seed)
    return drawn


def _windows(shape: tuple[int, ...], seed: int) -> Iterator[Box]:
    window, cells = _WINDOW[len(shape)], _CELLS[len(shape)]
    steps = tuple(max(w, -(-n // c)) for n, w, c in zip(shape, window, cells, strict=True))
    for cell in split(shape, steps):
        start = []
        for axis, (first, last, side) in enumerate(zip(cell.start, cell.stop, window, strict=True)):
            room = max(0, last - first - side)
            start.append(first + int(_ranks(np.array([_place(cell.start, shape)]), seed + axis + 1)[0]) % (room + 1))
        yield Box(tuple(start), tuple(min(a + w, b) for a, w, b in zip(start, window, cell.stop, strict=True)))


def _lowest(
    reader: SceneReader, windows: list[Box], shape: tuple[int, ...], size: int, seed: int
) -> NDArray[np.float32]:
    """Go through windows and keep the pixels of the lowest ranks."""
    ranks, values = np.empty(0, np.uint64), None
    highest = np.iinfo(np.uint64).max
    for window in windows:
        image, observed = reader.read(window)
        invalid = reader.invalid(window)
        places, valid = np.ravel_multi_index(np.ogrid[window.slices], shape), observed
        if invalid is not None:
            valid = valid & ~invalid
        found = _ranks(places[valid], seed)
        low = found < highest
        pixels = image[:, valid].T[low]
        ranks = np.concatenate([ranks, found[low]])
        values = pixels if values is None else np.concatenate([values, pixels])
        if len(ranks) > size + _SURPLUS:
            kept = np.argpartition(ranks, size)[:size]
            ranks, values, highest = ranks[kept], values[kept], int(ranks[kept].max())
    if values is None:
        raise ValueError("a sample without a window")
    order = np.argsort(ranks)[:size]
    return np.ascontiguousarray(values[order])


def _place(pixel: tuple[int, ...], shape: tuple[int, ...]) -> int:
    return int(np.ravel_multi_index(pixel, shape))


def _ranks(places: NDArray[np.intp], seed: int) -> NDArray[np.uint64]:
    """Mix 64 bits so that no two places share a rank: splitmix64 (Steele, Lea and Flood 2014), started at the seed."""
    with np.errstate(over="ignore"):
        bits = places.astype(np.uint64) + np.uint64(seed) * np.uint64(0xD1342543DE82EF95)
        bits = (bits + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return bits ^ (bits >> np.uint64(31))
