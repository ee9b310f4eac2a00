"""From the scores of tiles to classes: blended strip by strip, and the winner brought back to the host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from models.card import CentredResampling, Regions
from models.predictor import DeviceArray
from tasks.errors import SceneError
from tasks.geometry.box import Box
from tasks.segment.blend import SlabBlender
from tasks.segment.lattice import Tile
from tasks.segment.work import Work

# From this probability a region is there.
_THERE = 0.5
# Up to here comparing class after class is faster than argmax over the classes.
_FEW_CLASSES = 32


def blended(work: Work, region: Box, scored: Iterator[tuple[Tile, DeviceArray]]) -> Iterator[tuple[int, DeviceArray]]:
    """Yield ``(first row, blended scores (classes, rows, ...))`` of a region of the model grid, top down.

    Args:
        work: The scene and how to segment it.
        region: In the model grid.
        scored: Tiles in the lattice's order with their scores.
    """
    blender = SlabBlender(work.lattice, region, work.plan.blend)
    row = None
    for tile, scores in scored:
        if tile.index[0] != row:
            row = tile.index[0]
            yield from blender.finished(max(tile.core.start[0], region.start[0]))
        blender.add(tile, scores)
    yield from blender.finished(region.stop[0])


def brings_back_logits(work: Work) -> bool:
    """Tell whether what was blended as logits is still that when it reaches the input's grid."""
    resampling = work.card.resampling
    as_probabilities = isinstance(resampling, CentredResampling) and resampling.back == "probabilities"
    return work.plan.blend == "logits" and not as_probabilities


def softmax(logits: DeviceArray) -> DeviceArray:
    """Return probabilities ``(classes, ...)`` of logits."""
    xp = array_namespace(logits)
    powers = xp.exp(logits - xp.max(logits, axis=0))
    return powers / xp.sum(powers, axis=0)


def sigmoid(logits: DeviceArray) -> DeviceArray:
    """Return probabilities of logits, each by itself."""
    xp = array_namespace(logits)
    return 1 / (1 + xp.exp(-logits))


def classify(scores: DeviceArray, first_row: int, layers: dict[str, NDArray[Any]], work: Work) -> None:
    """Bring the winning class, and its probability in percent, back to the host.

    Args:
        scores: ``(classes, rows, ...)`` of a block.
        first_row: Of the block.
        layers: Of the block, by name; ``confidence`` where it is kept.
        work: The scene and how to segment it.

    Raises:
        SceneError: When a score is not a number.
    """
    xp = array_namespace(scores)
    rows = slice(first_row, first_row + scores.shape[1])
    regions = work.card.network.regions
    if regions is not None:
        probabilities = sigmoid(scores) if brings_back_logits(work) else scores
        classes, winning = _first_region(probabilities, regions)
    else:
        classes, winning = _winner(scores)
    # One sum tells of any NaN: infinities of either sign do not meet in what won.
    if bool(xp.isnan(xp.sum(winning))):
        raise SceneError(
            f"{work.scene.id}: the model's scores are not numbers (NaN). Set run.dtype to float32, or look at the "
            "model's weights and normalization"
        )
    layers["mask"][rows] = _to_host(classes)
    if "confidence" in layers:
        if regions is None and brings_back_logits(work):
            winning = 1 / xp.sum(xp.exp(scores - winning), axis=0)
        layers["confidence"][rows] = _to_host(xp.astype(xp.clip(xp.round(winning * 100), 0, 100), xp.uint8))


def _first_region(probabilities: DeviceArray, regions: Regions) -> tuple[DeviceArray, DeviceArray]:
    """Return the class of the first region that is there, and how likely that is; 0 where none is."""
    xp = array_namespace(probabilities)
    likely = 1 - xp.max(probabilities, axis=0)
    classes = xp.zeros(probabilities.shape[1:], dtype=xp.uint8, device=device(probabilities))
    # The first in the order has the last word.
    for channel in reversed(regions.order):
        there = probabilities[channel] >= _THERE
        number = xp.asarray(regions.classes[channel], dtype=xp.uint8, device=device(probabilities))
        classes = xp.where(there, number, classes)
        likely = xp.where(there, probabilities[channel], likely)
    return classes, likely


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
