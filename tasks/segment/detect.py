"""One block of a scene whose objects are wanted: read, normalise, detect, cut, store.

Each tile is looked at by one block, that which holds the first pixel of its core; what it shows of objects is kept as
fragments, in the scene's coordinates, so that nothing depends on the blocks. The ``mask`` layer of the store then holds
0 where the scene was observed; ``tasks.instances`` joins the fragments and lays the objects over it.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from tasks.geometry.box import Box
from tasks.scenes.scene import SceneReader
from tasks.segment.batches import in_batches, slot_detector
from tasks.segment.fragments import FRAGMENTS, BlockFragments, write_fragments
from tasks.segment.lattice import Tile
from tasks.segment.prefetch import prefetch
from tasks.segment.store import BlockReport, BlockStore
from tasks.segment.tiles import TileInputs
from tasks.segment.window import read_normalised
from tasks.segment.work import Work


def detect_block(work: Work, block: Box) -> BlockReport:
    """Find the objects of one block's tiles and put them into the store and its journal.

    Args:
        work: The scene and how to segment it.
        block: In the native grid.

    Returns:
        What the journal holds.
    """
    begin = time.perf_counter()
    found = BlockFragments(len(block.shape))
    with work.scene.open() as reader:
        tiles = OwnedTiles(work, reader, block)
        detector = slot_detector(work)
        with closing(in_batches(detector.detect, iter(tiles), work.plan)) as batches:
            for group, detections in batches:
                for (tile, _), objects in zip(group, detections.objects, strict=False):
                    found.add(tile, objects, *tiles.take_observed(tile))
    mask = np.where(tiles.valid, 0, np.iinfo(work.label_dtype).max).astype(work.label_dtype)
    store = BlockStore(work.store)
    checksums = store.write(block, {"mask": mask}) | {FRAGMENTS: write_fragments(work.store, block, found)}
    report = BlockReport(
        start=block.start,
        stop=block.stop,
        checksums=checksums,
        n_tiles=tiles.n_tiles,
        seconds=time.perf_counter() - begin,
    )
    store.commit(report)
    return report


class OwnedTiles:
    """Iterates over the tiles that a block looks at, with their normalised inputs, in the lattice's order.

    Tiles whose window shows nothing that is answered for are left out.

    Args:
        work: The scene and how to segment it.
        reader: Of the scene.
        block: In the native grid.
        others: Whether tiles are wanted that answer for some of the block and are another block's own.

    Attributes:
        valid: Which pixels of the block the product answers for; complete once the iteration has ended.
        n_tiles: Tiles given out so far.
    """

    def __init__(self, work: Work, reader: SceneReader, block: Box, *, others: bool = False) -> None:
        self._work = work
        self._others = others
        self._reader = reader
        self._block = block
        self._observed: dict[tuple[int, ...], tuple[NDArray[np.bool_], Box]] = {}
        self.valid = np.zeros(block.shape, np.bool_)
        self.n_tiles = 0

    def __iter__(self) -> Generator[TileInputs]:
        """Read ahead in a thread while the caller computes."""
        with closing(prefetch(self._strips())) as strips:
            for strip in strips:
                for item in strip:
                    self.n_tiles += 1
                    yield item

    def take_observed(self, tile: Tile) -> tuple[NDArray[np.bool_], Box]:
        """Return which pixels of a tile are answered for, and the part of the scene that they lie in; once."""
        return self._observed.pop(tile.index)

    def _strips(self) -> Generator[list[TileInputs]]:
        work = self._work
        for tiles in work.lattice.strips(self._block):
            # All tiles that meet the block are read: together they say what of it was observed.
            window = Box(tiles[0].window.start, tiles[-1].window.stop)
            strip = read_normalised(
                self._reader, window, work.scene.frame.model_shape, work.normalization, position=work.card.position
            )
            invalid = self._reader.invalid(strip.inside)
            valid = strip.observed if invalid is None else strip.observed & ~invalid
            part = strip.inside.intersection(self._block)
            self.valid[part.relative_to(self._block.start).slices] = valid[part.relative_to(strip.inside.start).slices]
            yield [
                (tile, strip.inputs[(slice(None), *tile.window.relative_to(window.start).slices)])
                for tile in tiles
                if (self._others or self.is_own(tile)) and self._is_wanted(tile, valid, strip.inside)
            ]

    def is_own(self, tile: Tile) -> bool:
        """Tell whether the first pixel that a tile answers for lies in the block."""
        return all(a <= s < b for a, s, b in zip(self._block.start, tile.core.start, self._block.stop, strict=True))

    def _is_wanted(self, tile: Tile, valid: NDArray[np.bool_], inside: Box) -> bool:
        """Keep what was observed of a tile, and tell whether there is any of it."""
        part = tile.window.intersection(inside)
        own = valid[part.relative_to(inside.start).slices]
        if not own.any():
            return False
        self._observed[tile.index] = (own.copy(), part)
        return True
