"""The tiles of one block, read a strip ahead of the network."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tasks.geometry.box import Box
from tasks.geometry.resample import model_box
from tasks.scenes.scene import SceneReader
from tasks.segment.features import featured
from tasks.segment.lattice import Tile
from tasks.segment.prefetch import prefetch
from tasks.segment.window import Strip, read_normalised
from tasks.segment.work import Work

TileInputs: TypeAlias = tuple[Tile, NDArray[np.float32]]

# Rows of the native grid whose validity is read at a time where it does not come with the strips.
_ROWS = 32


class BlockTiles:
    """Iterates over the tiles of a block with their normalised inputs, in the lattice's order.

    A strip of tiles is read once and its tiles are views of it. Tiles that answer for no wanted pixel of the block
    are left out.

    Attributes:
        valid: Which pixels of the block the mask answers for; complete once the iteration has ended.
        n_tiles: Tiles given out so far.
    """

    def __init__(self, work: Work, reader: SceneReader, block: Box) -> None:
        self._work = work
        self._reader = featured(reader, work.card)
        self._block = block
        self._frame = work.scene.frame
        self.valid = np.zeros(block.shape, np.bool_)
        self.n_tiles = 0

    def __iter__(self) -> Generator[TileInputs]:
        """Read ahead in a thread while the caller computes."""
        with closing(prefetch(self._strips())) as strips:
            for strip in strips:
                for item in strip:
                    self.n_tiles += 1
                    yield item

    def _strips(self) -> Generator[list[TileInputs]]:
        if not self._frame.is_identity:
            self._read_validity()
            if not self.valid.any():
                return
        for tiles in self._work.lattice.strips(model_box(self._block, self._frame)):
            window = Box(tiles[0].window.start, tiles[-1].window.stop)
            strip = read_normalised(
                self._reader,
                window,
                self._frame.model_shape,
                self._work.normalization,
                position=self._work.card.position,
                placement=self._work.plan.placement,
                beyond=self._work.plan.beyond,
            )
            if self._frame.is_identity:
                self._take_validity(strip)
            wanted = [tile for tile in tiles if self._is_wanted(tile)]
            yield [
                (tile, strip.inputs[(slice(None), *tile.window.relative_to(window.start).slices)]) for tile in wanted
            ]

    def _read_validity(self) -> None:
        """Read it in the native grid, where that is not the network's."""
        first, *others = zip(self._block.start, self._block.stop, strict=True)
        for row in range(*first, _ROWS):
            rows = ((row, min(row + _ROWS, first[1])), *others)
            box = Box(*(tuple(ends) for ends in zip(*rows, strict=True)))
            self.valid[box.relative_to(self._block.start).slices] = self._reader.valid(box)

    def _take_validity(self, strip: Strip) -> None:
        """Take it from what was just read for the network."""
        part = strip.inside.intersection(self._block)
        valid = strip.observed[part.relative_to(strip.inside.start).slices]
        invalid = self._reader.invalid(part)
        self.valid[part.relative_to(self._block.start).slices] = valid if invalid is None else valid & ~invalid

    def _is_wanted(self, tile: Tile) -> bool:
        """Tell whether the tile answers for any wanted pixel; else its scores would be thrown away."""
        if not self._frame.is_identity:
            return True
        core = tile.core.intersection(self._block).relative_to(self._block.start)
        return bool(self.valid[core.slices].any())
