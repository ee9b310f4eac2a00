"""Labels that are settled over a whole volume: of some classes the largest part alone, on the grid that blocks answer.

A network's labels may have to be looked at as a whole before they come back to the input's grid. Blocks then answer the
grid of the network, and what users read is made from that: nothing of it depends on the blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import cc3d
import numpy as np
from numpy.typing import NDArray

from models.card import CentredResampling
from tasks.files.durable import sync
from tasks.geometry.box import Box
from tasks.geometry.resample import model_box, to_native
from tasks.scenes.volume.model_grid import ModelGrid
from tasks.segment.store import BlockStore
from tasks.segment.work import Work

ReadLayer: TypeAlias = Callable[[Box], NDArray[np.unsignedinteger[Any]]]

_CONNECTIVITY: Literal[26] = 26


def settle(work: Work) -> None:
    """Keep of the card's ``largest`` classes the largest part alone; one byte per pixel, and four for its parts.

    Args:
        work: Every block of it is in the journal.
    """
    labels = BlockStore(work.store).read("mask", Box.of_shape(work.scene.frame.native_shape))
    for label in work.card.largest:
        parts = cc3d.connected_components((labels == label).view(np.uint8), connectivity=_CONNECTIVITY)
        sizes = np.bincount(parts.ravel())[1:]
        if sizes.size > 1:
            labels[(parts > 0) & (parts != 1 + int(np.argmax(sizes)))] = 0
    part = _file(work).with_suffix(".part")
    with part.open("wb") as file:
        np.save(file, labels, allow_pickle=False)
    sync(part)
    part.replace(_file(work))


def settled_reader(work: Work, layer: str) -> partial[NDArray[np.unsignedinteger[Any]]]:
    """Return what reads windows of a layer on the input's grid.

    Args:
        work: That ``settle`` has seen.
        layer: ``mask`` or ``confidence``.
    """
    return partial(_read, work, layer)


def _read(work: Work, layer: str, box: Box) -> NDArray[np.unsignedinteger[Any]]:
    on_grid = not isinstance(work.scene, ModelGrid)
    if layer != "mask":
        stored = partial(BlockStore(work.store).read, layer)
        return stored(box) if on_grid else _brought_back(work, stored, box, is_linear=False)
    labels = np.load(_file(work), mmap_mode="r", allow_pickle=False)

    def read(window: Box) -> NDArray[np.unsignedinteger[Any]]:
        found: NDArray[np.unsignedinteger[Any]] = np.array(labels[window.slices])
        return found

    resampling = work.card.resampling
    is_linear = isinstance(resampling, CentredResampling) and resampling.back == "numbers"
    return read(box) if on_grid else _brought_back(work, read, box, is_linear=is_linear)


def _brought_back(
    work: Work,
    read: ReadLayer,
    box: Box,
    *,
    is_linear: bool,
) -> NDArray[np.unsignedinteger[Any]]:
    """Return a window of the input's grid: each pixel the nearest, or the number between, as ``Invertd`` makes it."""
    volume = work.source
    frame = volume.frame
    if not is_linear:
        frame = replace(frame, orders=((1, 0),) * len(frame.scale))
    needed = model_box(box, frame)
    values = read(needed)
    unseen = np.iinfo(values.dtype).max
    numbers = np.where(values == unseen, 0, values).astype(np.float32)
    found: NDArray[np.unsignedinteger[Any]] = np.rint(
        to_native(numbers[np.newaxis], needed.start, box, frame)[0]
    ).astype(values.dtype)
    answered = frame.answered
    if answered is not None:
        outside = np.ones(box.shape, np.bool_)
        outside[answered.intersection(box).relative_to(box.start).slices] = False
        found[outside] = 0
    with volume.open() as reader:
        found[~reader.valid(box)] = unseen
    return found


def _file(work: Work) -> Path:
    return work.store / "settled.npy"
