"""What a scene with instances shows at each pixel: ids, classes and scores, out of the block store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from tasks.geometry.box import Box, split
from tasks.instances.paint import InstanceTable
from tasks.segment.settle import settled_reader
from tasks.segment.store import BlockStore
from tasks.segment.work import INSTANCES, Work

NOT_OBSERVED = np.iinfo(np.uint32).max
# The layer with what lies below the things of a panoptic scene.
STUFF = "stuff"
# Windows in which measures are summed and outlines cut, as in ``tasks.answers.components``.
_WINDOW = (1024, 1024)


@dataclass(frozen=True)
class InstanceLayers:
    """Reads a scene's layers after ``tasks.instances.lay.assemble``.

    Attributes:
        store: Folder of the block store.
        shape: Of the scene.
        lies_over: Whether classes and scores of instances lie over those of the block store.
    """

    store: Path
    shape: tuple[int, ...]
    lies_over: bool = True

    @cached_property
    def table(self) -> InstanceTable:
        """The instances by id."""
        with np.load(table_file(self.store), allow_pickle=False) as columns:
            return InstanceTable(**{field.name: columns[field.name] for field in fields(InstanceTable)})

    @property
    def n_whole(self) -> int:
        """How many areas were too large to be cut into objects."""
        with np.load(table_file(self.store), allow_pickle=False) as columns:
            return int(columns["n_whole"])

    @property
    def n(self) -> int:
        """How many instances there are."""
        return len(self.table)

    def ids(self, box: Box) -> NDArray[np.uint32]:
        """Read the id at each pixel of a window; 0 where there is none."""
        numbers = np.asarray(zarr.open_array(self.store / INSTANCES, mode="r")[box.slices])
        found: NDArray[np.uint32] = self.table.ids[numbers]
        return found

    def windows(self) -> Iterator[tuple[Box, NDArray[np.int64]]]:
        """Yield windows of a raster in row-major order with the id at each pixel, 0 where there is none."""
        for box in split(self.shape, _WINDOW):
            yield box, self.ids(box).astype(np.int64)

    def read(self, layer: str, box: Box) -> NDArray[np.unsignedinteger[Any]]:
        """Read a window of ``mask``, ``confidence`` or ``instances``.

        Where an instance lies over it, its class and its score in percent stand; elsewhere what the block store
        holds, and for a confidence that it does not hold 0. The largest value is not observed.
        """
        if layer != INSTANCES and not self.lies_over:
            return BlockStore(self.store).read(layer, box)
        ids, below = self.ids(box), self._below(box)
        hidden = below == np.iinfo(below.dtype).max
        if layer == INSTANCES:
            return np.where(hidden, np.uint32(NOT_OBSERVED), ids)
        if layer == "mask":
            labels = np.concatenate([[0], self.table.labels]).astype(below.dtype)
            return np.where(ids > 0, labels[ids], below)
        percent = np.concatenate([[0], np.clip(np.round(self.table.scores * 100), 0, 100)]).astype(np.uint8)
        return np.where(ids > 0, percent[ids], self._confidence_below(box, hidden))

    def _below(self, box: Box) -> NDArray[np.unsignedinteger[Any]]:
        if not (self.store / STUFF / "zarr.json").exists():
            return BlockStore(self.store).read("mask", box)
        below: NDArray[np.unsignedinteger[Any]] = np.asarray(zarr.open_array(self.store / STUFF, mode="r")[box.slices])
        return below

    def _confidence_below(self, box: Box, hidden: NDArray[np.bool_]) -> NDArray[np.unsignedinteger[Any]]:
        if (self.store / "confidence" / "zarr.json").exists():
            return BlockStore(self.store).read("confidence", box)
        return np.where(hidden, np.uint8(255), np.uint8(0))


def layer_reader(work: Work, layer: str) -> partial[NDArray[np.unsignedinteger[Any]]]:
    """Return what reads windows of one of a scene's ``work.products``."""
    if work.has_instances:
        return partial(instance_layers(work).read, layer)
    if work.is_settled:
        return settled_reader(work, layer)
    return partial(BlockStore(work.store).read, layer)


def instance_layers(work: Work) -> InstanceLayers:
    """Return the layers of a scene with instances."""
    return InstanceLayers(work.store, work.scene.frame.native_shape, work.finds_objects)


def table_file(store: Path) -> Path:
    """Return where the table of a block store's instances lies."""
    return store / f"{INSTANCES}.npz"
