"""A block of a scene whose pixels are classified and whose objects are found in one pass."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import Any

from numpy.typing import NDArray

from models.predictor import DeviceArray
from tasks.segment.batches import in_batches, slot_detector
from tasks.segment.classify import blended, classify
from tasks.segment.fragments import BlockFragments
from tasks.segment.lattice import Tile
from tasks.segment.prefetch import prefetch
from tasks.segment.tiles import BlockTiles
from tasks.segment.work import Work


def classify_and_detect_in_tiles(
    work: Work, tiles: BlockTiles, layers: dict[str, NDArray[Any]], fragments: BlockFragments
) -> None:
    """Fill the layers of a block with classes, and gather what its own tiles show of objects.

    All tiles that answer for some of the block are looked at; of objects, those of its own tiles are kept.

    Args:
        work: The scene and how to segment it; the network's grid is the scene's.
        tiles: Of the block.
        layers: By name, arrays of the block's shape.
        fragments: Are added to.
    """
    with closing(prefetch(_scored(work, tiles, fragments))) as scored:
        for row, scores in blended(work, tiles.block, scored):
            classify(scores, row - tiles.block.start[0], layers, work)


def _scored(work: Work, tiles: BlockTiles, fragments: BlockFragments) -> Generator[tuple[Tile, DeviceArray]]:
    detector = slot_detector(work)
    with closing(in_batches(detector.detect, iter(tiles), work.plan)) as batches:
        for group, detections in batches:
            for k, (tile, _) in enumerate(group):
                observed = tiles.take_observed(tile)
                if tiles.is_own(tile):
                    fragments.add(tile, detections.objects[k], *observed)
                if detections.scores is None:
                    raise TypeError(f"{work.card.name}: a panoptic predictor gives no scores")
                yield tile, detections.scores[k]
