"""A block of a class map: the scores of its tiles are blended, brought to the native grid, and classified."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import Any

from numpy.typing import NDArray

from models.predictor import DeviceArray, Predictor
from tasks.geometry.resample import model_box
from tasks.segment.batches import in_batches, slot_predictor
from tasks.segment.classify import blended, brings_back_logits, classify, sigmoid, softmax
from tasks.segment.fragments import BlockFragments
from tasks.segment.lattice import Tile
from tasks.segment.native import native_slabs
from tasks.segment.plan import Plan
from tasks.segment.prefetch import prefetch
from tasks.segment.tiles import BlockTiles, TileInputs
from tasks.segment.work import Work


def classify_tiles(work: Work, tiles: BlockTiles, layers: dict[str, NDArray[Any]], _fragments: BlockFragments) -> None:
    """Fill the layers of a block with classes.

    Args:
        work: The scene and how to segment it.
        tiles: Of the block.
        layers: By name, arrays of the block's shape.
        _fragments: Of objects, of which there are none.
    """
    with closing(_native_scores(work, tiles)) as slabs:
        for row, scores in slabs:
            classify(scores, row - tiles.block.start[0], layers, work)


def _native_scores(work: Work, tiles: BlockTiles) -> Generator[tuple[int, DeviceArray]]:
    """Yield ``(first native row, blended scores (classes, rows, ...))`` of a block, top down."""
    frame = work.scene.frame
    predictor = slot_predictor(work)
    # The network is busy with the next tiles while these are blended and stored.
    with closing(prefetch(_score(predictor, iter(tiles), work.plan))) as scored:
        slabs = blended(work, model_box(tiles.block, frame), scored)
        if work.plan.blend == "logits" and not brings_back_logits(work):
            likely = softmax if work.card.network.regions is None else sigmoid
            slabs = ((row, likely(logits)) for row, logits in slabs)
        yield from native_slabs(slabs, frame, tiles.block)


def _score(predictor: Predictor, tiles: Generator[TileInputs], plan: Plan) -> Generator[tuple[Tile, DeviceArray]]:
    with closing(in_batches(predictor.predict, tiles, plan)) as batches:
        for group, scores in batches:
            for k, (tile, _) in enumerate(group):
                yield tile, scores[k]
