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

    A strip of tiles is read once and its tiles are views of it. Tiles whose answer would be thrown away are left out:
    of scores, those that answer for no wanted pixel of the block; where objects are found, those in whose window
    nothing was observed, and of objects alone those that are another block's own.

    Attributes:
        block: In the native grid.
        valid: Which pixels of the block the mask answers for; complete once the iteration has ended.
        n_tiles: Tiles given out so far.
    """

    def __init__(self, work: Work, reader: SceneReader, block: Box) -> None:
        self.block = block
        self.valid = np.zeros(block.shape, np.bool_)
        self.n_tiles = 0
        self._work = work
        self._reader = featured(reader, work.card)
        self._frame = work.scene.frame
        self._observed: dict[tuple[int, ...], tuple[NDArray[np.bool_], Box]] = {}

    def __iter__(self) -> Generator[TileInputs]:
        """Read ahead in a thread while the caller computes."""
        with closing(prefetch(self._strips())) as strips:
            for strip in strips:
                for item in strip:
                    self.n_tiles += 1
                    yield item

    def is_own(self, tile: Tile) -> bool:
        """Tell whether the first pixel that a tile answers for lies in the block."""
        return all(a <= s < b for a, s, b in zip(self.block.start, tile.core.start, self.block.stop, strict=True))

    def take_observed(self, tile: Tile) -> tuple[NDArray[np.bool_], Box]:
        """Return which pixels of a tile are answered for, and the part of the scene that they lie in; once.

        It is kept where objects are found.
        """
        return self._observed.pop(tile.index)

    def _strips(self) -> Generator[list[TileInputs]]:
        if not self._frame.is_identity:
            self._read_validity()
            if not self.valid.any():
                return
        for tiles in self._work.lattice.strips(model_box(self.block, self._frame)):
            # All tiles that meet the block are read: together they say what of it was observed.
            window = Box(tiles[0].window.start, tiles[-1].window.stop)
            strip = read_normalised(
                self._reader,
                window,
                self._frame.model_shape,
                self._work.normalization,
                position=self._work.card.position,
                placement=self._work.plan.placement,
            )
            # Of scores no pixel beyond the block is asked about; objects reach beyond it.
            seen = strip.inside if self._work.finds_objects else strip.inside.intersection(self.block)
            valid = self._valid_in(strip, seen) if self._frame.is_identity else None
            if valid is not None:
                part = seen.intersection(self.block)
                self.valid[part.relative_to(self.block.start).slices] = valid[part.relative_to(seen.start).slices]
            yield [
                (tile, strip.inputs[(slice(None), *tile.window.relative_to(window.start).slices)])
                for tile in tiles
                if valid is None or self._is_wanted(tile, valid, seen)
            ]

    def _read_validity(self) -> None:
        """Read it in the native grid, where that is not the network's."""
        first, *others = zip(self.block.start, self.block.stop, strict=True)
        for row in range(*first, _ROWS):
            rows = ((row, min(row + _ROWS, first[1])), *others)
            box = Box(*(tuple(ends) for ends in zip(*rows, strict=True)))
            self.valid[box.relative_to(self.block.start).slices] = self._reader.valid(box)

    def _valid_in(self, strip: Strip, part: Box) -> NDArray[np.bool_]:
        """Tell which pixels of a part of a strip were observed and are not called invalid by the job."""
        observed = strip.observed[part.relative_to(strip.inside.start).slices]
        invalid = self._reader.invalid(part)
        return observed if invalid is None else observed & ~invalid

    def _is_wanted(self, tile: Tile, valid: NDArray[np.bool_], seen: Box) -> bool:
        """Tell whether anything of a tile's answer is kept; where objects are found, keep what was observed of it."""
        if not self._work.finds_objects:
            core = tile.core.intersection(self.block).relative_to(self.block.start)
            return bool(self.valid[core.slices].any())
        if self._work.plan.slot.spec.output == "objects" and not self.is_own(tile):
            return False
        part = tile.window.intersection(seen)
        observed = valid[part.relative_to(seen.start).slices]
        if not observed.any():
            return False
        self._observed[tile.index] = (observed.copy(), part)
        return True
