"""One block of output: read, normalise, predict, blend, classify, store."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.predictor import DeviceArray, Predictor
from tasks.geometry.box import Box
from tasks.geometry.resample import model_box
from tasks.segment.batches import in_batches, slot_predictor
from tasks.segment.classify import blended, brings_back_logits, classify, sigmoid, softmax
from tasks.segment.detect import detect_block
from tasks.segment.lattice import Tile
from tasks.segment.native import native_slabs
from tasks.segment.panoptic import segment_and_detect_block
from tasks.segment.plan import Plan
from tasks.segment.prefetch import prefetch
from tasks.segment.store import BlockReport, BlockStore
from tasks.segment.tiles import BlockTiles, TileInputs
from tasks.segment.work import Work


def segment_block(work: Work, block: Box) -> BlockReport:
    """Segment one block and put it into the store and its journal.

    Args:
        work: The scene and how to segment it.
        block: In the native grid.

    Returns:
        What the journal holds.
    """
    output = work.plan.slot.spec.output
    if output != "scores":
        return detect_block(work, block) if output == "objects" else segment_and_detect_block(work, block)
    begin = time.perf_counter()
    layers = {name: np.full(block.shape, np.iinfo(dtype).max, dtype) for name, dtype in work.layers.items()}
    with work.scene.open() as reader:
        tiles = BlockTiles(work, reader, block)
        with closing(_native_scores(work, block, tiles)) as slabs:
            for row, scores in slabs:
                classify(scores, row - block.start[0], layers, work)
    answered = work.scene.frame.answered
    if answered is not None:
        _clear_outside(layers, answered, block)
    for values in layers.values():
        values[~tiles.valid] = np.iinfo(values.dtype).max
    store = BlockStore(work.store)
    checksums = store.write(block, layers)
    report = BlockReport(
        start=block.start,
        stop=block.stop,
        checksums=checksums,
        n_tiles=tiles.n_tiles,
        seconds=time.perf_counter() - begin,
    )
    store.commit(report)
    return report


def _native_scores(work: Work, block: Box, tiles: BlockTiles) -> Generator[tuple[int, DeviceArray]]:
    """Yield ``(first native row, blended scores (classes, rows, ...))`` of a block, top down."""
    frame = work.scene.frame
    region = model_box(block, frame)
    predictor = slot_predictor(work)
    # The network is busy with the next tiles while these are blended and stored.
    with closing(prefetch(_score(predictor, iter(tiles), work.plan))) as scored:
        slabs = blended(work, region, scored)
        if work.plan.blend == "logits" and not brings_back_logits(work):
            likely = softmax if work.card.network.regions is None else sigmoid
            slabs = ((row, likely(logits)) for row, logits in slabs)
        yield from native_slabs(slabs, frame, block)


def _score(predictor: Predictor, tiles: Generator[TileInputs], plan: Plan) -> Generator[tuple[Tile, DeviceArray]]:
    with closing(in_batches(predictor.predict, tiles, plan)) as batches:
        for group, scores in batches:
            for k, (tile, _) in enumerate(group):
                yield tile, scores[k]


def _clear_outside(layers: dict[str, NDArray[Any]], answered: Box, block: Box) -> None:
    """Call what the model does not look at background, for certain."""
    outside = np.ones(block.shape, np.bool_)
    outside[answered.intersection(block).relative_to(block.start).slices] = False
    for name, values in layers.items():
        values[outside] = 0 if name == "mask" else 100
