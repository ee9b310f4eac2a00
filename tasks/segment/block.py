"""One block of output: read, normalise, predict, then blend and classify or cut objects, store."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.predictor import Output
from tasks.geometry.box import Box
from tasks.segment.classified import classify_tiles
from tasks.segment.detected import detect_in_tiles
from tasks.segment.fragments import FRAGMENTS, BlockFragments, write_fragments
from tasks.segment.panoptic import classify_and_detect_in_tiles
from tasks.segment.store import BlockReport, BlockStore
from tasks.segment.tiles import BlockTiles
from tasks.segment.work import Work

# Fills the layers of a block, or gathers what its tiles show of objects, or both.
_Fill: TypeAlias = Callable[[Work, BlockTiles, dict[str, NDArray[Any]], BlockFragments], None]
_FILLS: Mapping[Output, _Fill] = {
    "scores": classify_tiles,
    "objects": detect_in_tiles,
    "panoptic": classify_and_detect_in_tiles,
}


def segment_block(work: Work, block: Box) -> BlockReport:
    """Segment one block and put it into the store and its journal.

    Args:
        work: The scene and how to segment it.
        block: In the native grid.

    Returns:
        What the journal holds.
    """
    begin = time.perf_counter()
    layers = {name: np.full(block.shape, np.iinfo(dtype).max, dtype) for name, dtype in work.layers.items()}
    fragments = BlockFragments(len(block.shape))
    with work.scene.open() as reader:
        tiles = BlockTiles(work, reader, block)
        _FILLS[work.plan.slot.spec.output](work, tiles, layers, fragments)
    answered = work.scene.frame.answered
    if answered is not None:
        _clear_outside(layers, answered, block)
    for values in layers.values():
        values[~tiles.valid] = np.iinfo(values.dtype).max
    store = BlockStore(work.store)
    checksums = store.write(block, layers)
    if work.finds_objects:
        checksums |= {FRAGMENTS: write_fragments(work.store, block, fragments)}
    report = BlockReport(
        start=block.start,
        stop=block.stop,
        checksums=checksums,
        n_tiles=tiles.n_tiles,
        seconds=time.perf_counter() - begin,
    )
    store.commit(report)
    return report


def _clear_outside(layers: Mapping[str, NDArray[Any]], answered: Box, block: Box) -> None:
    """Call what the model does not look at background, for certain."""
    outside = np.ones(block.shape, np.bool_)
    outside[answered.intersection(block).relative_to(block.start).slices] = False
    for name, values in layers.items():
        values[outside] = 0 if name == "mask" else 100
