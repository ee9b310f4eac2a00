"""One block of a scene whose pixels are classified and whose objects are found in one pass."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing

import numpy as np

from models.predictor import DeviceArray
from tasks.geometry.box import Box
from tasks.segment.batches import in_batches, slot_detector
from tasks.segment.classify import blended, classify
from tasks.segment.detect import OwnedTiles
from tasks.segment.fragments import FRAGMENTS, BlockFragments, write_fragments
from tasks.segment.lattice import Tile
from tasks.segment.prefetch import prefetch
from tasks.segment.store import BlockReport, BlockStore
from tasks.segment.work import Work


def segment_and_detect_block(work: Work, block: Box) -> BlockReport:
    """Put the class map of a block and the objects of its tiles into the store and its journal.

    All tiles that answer for some of the block are looked at; of objects, those of its own tiles are kept.

    Args:
        work: The scene and how to segment it; the network's grid is the scene's.
        block: In that grid.

    Returns:
        What the journal holds.
    """
    begin = time.perf_counter()
    layers = {name: np.full(block.shape, np.iinfo(dtype).max, dtype) for name, dtype in work.layers.items()}
    found = BlockFragments(len(block.shape))
    with work.scene.open() as reader:
        tiles = OwnedTiles(work, reader, block, others=True)
        with closing(prefetch(_scored(work, tiles, found))) as scored:
            for row, scores in blended(work, block, scored):
                classify(scores, row - block.start[0], layers, work)
    for values in layers.values():
        values[~tiles.valid] = np.iinfo(values.dtype).max
    store = BlockStore(work.store)
    checksums = store.write(block, layers) | {FRAGMENTS: write_fragments(work.store, block, found)}
    report = BlockReport(
        start=block.start,
        stop=block.stop,
        checksums=checksums,
        n_tiles=tiles.n_tiles,
        seconds=time.perf_counter() - begin,
    )
    store.commit(report)
    return report


def _scored(work: Work, tiles: OwnedTiles, found: BlockFragments) -> Generator[tuple[Tile, DeviceArray]]:
    detector = slot_detector(work)
    with closing(in_batches(detector.detect, iter(tiles), work.plan)) as batches:
        for group, detections in batches:
            for k, (tile, _) in enumerate(group):
                observed = tiles.take_observed(tile)
                if tiles.is_own(tile):
                    found.add(tile, detections.objects[k], *observed)
                if detections.scores is None:
                    raise TypeError(f"{work.card.name}: a panoptic predictor gives no scores")
                yield tile, detections.scores[k]
