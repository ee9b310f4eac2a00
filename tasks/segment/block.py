"""One block of output: read, normalise, predict, blend, classify, store."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from models.card import CentredResampling
from models.predictor import DeviceArray, Predictor
from tasks.box import Box
from tasks.errors import SceneError
from tasks.resample import model_box
from tasks.segment.batches import in_batches
from tasks.segment.blend import SlabBlender
from tasks.segment.detect import detect_block
from tasks.segment.grid import Tile
from tasks.segment.loaded import slot_predictor
from tasks.segment.native import native_slabs
from tasks.segment.plan import Plan
from tasks.segment.prefetch import prefetch
from tasks.segment.store import BlockReport, BlockStore
from tasks.segment.tiles import BlockTiles, TileInputs
from tasks.segment.work import Work

# Up to here comparing class after class is faster than argmax over the classes.
_FEW_CLASSES = 32


def segment_block(work: Work, block: Box) -> BlockReport:
    """Segment one block and put it into the store and its journal.

    Args:
        work: The scene and how to segment it.
        block: In the native grid.

    Returns:
        What the journal holds.
    """
    if work.plan.slot.spec.output == "objects":
        return detect_block(work, block)
    begin = time.perf_counter()
    layers = {name: np.full(block.shape, np.iinfo(dtype).max, dtype) for name, dtype in work.layers.items()}
    with work.scene.open() as reader:
        tiles = BlockTiles(work, reader, block)
        with closing(_native_scores(work, block, tiles)) as slabs:
            for row, scores in slabs:
                _classify(scores, row - block.start[0], layers, work)
    if work.scene.frame.crop is not None:
        _clear_outside(layers, work.scene.frame.crop, block)
    for values in layers.values():
        values[~tiles.valid] = np.iinfo(values.dtype).max
    store = BlockStore(work.store)
    checksums = store.write(block, layers)
    report = BlockReport(block.start, block.stop, checksums, tiles.n_tiles, time.perf_counter() - begin)
    store.commit(report)
    return report


def _native_scores(work: Work, block: Box, tiles: BlockTiles) -> Generator[tuple[int, DeviceArray]]:
    """Yield ``(first native row, blended scores (classes, rows, ...))`` of a block, top down."""
    frame = work.scene.frame
    region = model_box(block, frame)
    predictor = slot_predictor(work)
    # The network is busy with the next tiles while these are blended and stored.
    with closing(prefetch(_score(predictor, iter(tiles), work.plan))) as scored:
        slabs = _blended(work, region, scored)
        if work.plan.blend == "logits" and not _brings_back_logits(work):
            slabs = ((row, _softmax(logits)) for row, logits in slabs)
        yield from native_slabs(slabs, frame, block)


def _brings_back_logits(work: Work) -> bool:
    """Tell whether what was blended as logits is still that when it reaches the input's grid."""
    resampling = work.card.resampling
    as_probabilities = isinstance(resampling, CentredResampling) and resampling.back == "probabilities"
    return work.plan.blend == "logits" and not as_probabilities


def _softmax(logits: DeviceArray) -> DeviceArray:
    xp = array_namespace(logits)
    powers = xp.exp(logits - xp.max(logits, axis=0))
    return powers / xp.sum(powers, axis=0)


def _score(predictor: Predictor, tiles: Generator[TileInputs], plan: Plan) -> Generator[tuple[Tile, DeviceArray]]:
    with closing(in_batches(predictor.predict, tiles, plan)) as batches:
        for group, scores in batches:
            for k, (tile, _) in enumerate(group):
                yield tile, scores[k]


def _blended(work: Work, region: Box, scored: Iterator[tuple[Tile, DeviceArray]]) -> Iterator[tuple[int, DeviceArray]]:
    blender = SlabBlender(work.lattice, region, work.plan.blend)
    row = None
    for tile, scores in scored:
        if tile.index[0] != row:
            row = tile.index[0]
            yield from blender.finished(max(tile.core.start[0], region.start[0]))
        blender.add(tile, scores)
    yield from blender.finished(region.stop[0])


def _clear_outside(layers: dict[str, NDArray[Any]], crop: Box, block: Box) -> None:
    """Call what the model does not look at background, for certain."""
    outside = np.ones(block.shape, np.bool_)
    outside[crop.intersection(block).relative_to(block.start).slices] = False
    for name, values in layers.items():
        values[outside] = 0 if name == "mask" else 100


def _classify(scores: DeviceArray, first_row: int, layers: dict[str, NDArray[Any]], work: Work) -> None:
    """Bring the winning class, and its probability in percent, back to the host."""
    xp = array_namespace(scores)
    rows = slice(first_row, first_row + scores.shape[1])
    classes, winning = _winner(scores)
    # One sum tells of any NaN: infinities of either sign do not meet in what won.
    if bool(xp.isnan(xp.sum(winning))):
        raise SceneError(
            f"{work.scene.id}: the model's scores are not numbers (NaN). Set run.dtype to float32, or look at the "
            "model's weights and normalization"
        )
    layers["mask"][rows] = _to_host(classes)
    if "confidence" in layers:
        if _brings_back_logits(work):
            winning = 1 / xp.sum(xp.exp(scores - winning), axis=0)
        layers["confidence"][rows] = _to_host(xp.astype(xp.clip(xp.round(winning * 100), 0, 100), xp.uint8))


def _winner(scores: DeviceArray) -> tuple[DeviceArray, DeviceArray]:
    """Return the first class with the largest score, and that score; classes lie far apart, and argmax would crawl."""
    xp = array_namespace(scores)
    if scores.shape[0] > _FEW_CLASSES:
        return xp.argmax(scores, axis=0), xp.max(scores, axis=0)
    best, classes = scores[0], xp.zeros(scores.shape[1:], dtype=xp.uint8, device=device(scores))
    for number in range(1, scores.shape[0]):
        better = scores[number] > best
        classes = xp.where(better, xp.asarray(number, dtype=xp.uint8, device=device(scores)), classes)
        best = xp.maximum(best, scores[number])
    return classes, best


def _to_host(array: DeviceArray) -> NDArray[Any]:
    on_host: NDArray[Any] = np.asarray(array if isinstance(array, np.ndarray) else array.cpu())
    return on_host
