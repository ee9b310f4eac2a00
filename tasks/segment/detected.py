"""A block of a scene whose objects are wanted.

Each tile is looked at by one block, that which holds the first pixel of its core; what it shows of objects is kept as
fragments, in the scene's coordinates, so that nothing depends on the blocks. The ``mask`` layer of the store then holds
0 where the scene was observed; ``tasks.instances`` joins the fragments and lays the objects over it.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

from numpy.typing import NDArray

from tasks.segment.batches import in_batches, slot_detector
from tasks.segment.fragments import BlockFragments
from tasks.segment.tiles import BlockTiles
from tasks.segment.work import Work


def detect_in_tiles(work: Work, tiles: BlockTiles, layers: dict[str, NDArray[Any]], fragments: BlockFragments) -> None:
    """Gather what the tiles of a block show of objects.

    Args:
        work: The scene and how to segment it.
        tiles: Of the block.
        layers: By name, arrays of the block's shape; 0 afterwards.
        fragments: Are added to.
    """
    detector = slot_detector(work)
    with closing(in_batches(detector.detect, iter(tiles), work.plan)) as batches:
        for group, detections in batches:
            for (tile, _), objects in zip(group, detections.objects, strict=False):
                fragments.add(tile, objects, *tiles.take_observed(tile))
    for values in layers.values():
        values[:] = 0
