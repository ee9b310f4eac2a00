"""Objects laid onto the grid of a scene: those that its model found, or the areas of its class map."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from tasks.files.durable import sync
from tasks.geometry.box import Box
from tasks.instances.area_layers import lay_areas
from tasks.instances.borders import Painted
from tasks.instances.join import join
from tasks.instances.layers import STUFF, table_file
from tasks.instances.paint import WINDOWS, InstanceTable, paint
from tasks.instances.panoptic import seen_objects, stuff_windows
from tasks.jobs.instances import PanopticRules
from tasks.segment.fragments import read_fragments
from tasks.segment.store import BlockStore
from tasks.segment.work import INSTANCES, Work


def assemble(work: Work) -> None:
    """Lay the objects of a scene onto the grid: those that the model found, or else the areas of the class map.

    Memory does not grow with a raster, but for some hundred bytes per fragment or area.

    Args:
        work: With instances; every block of it is in the journal.
    """
    shape = work.scene.frame.native_shape
    file = table_file(work.store)
    file.unlink(missing_ok=True)
    window = WINDOWS[len(shape)]
    painted = zarr.create_array(
        work.store / INSTANCES, shape=shape, chunks=window, dtype="uint32", fill_value=0, overwrite=True
    )
    if work.finds_objects or work.areas is None:
        table = _lay_objects(work, painted)
        if work.panoptic is not None:
            _lay_stuff(work, work.panoptic, painted, table)
        _write_table(file, table)
    else:
        has_confidence = "confidence" in work.layers
        found = lay_areas(BlockStore(work.store), shape, work.areas, painted, has_confidence=has_confidence)
        _write_table(file, found.table, found.n_whole)


def _lay_objects(work: Work, painted: Painted) -> InstanceTable:
    """Join the fragments of a scene and lay its objects onto the grid."""
    frame = work.scene.frame
    shape = frame.native_shape
    store = BlockStore(work.store)
    fragments = read_fragments(work.store, work.plan.blocks(frame), len(shape))
    objects = join(fragments, work.lattice, shape, work.plan.agreement)
    if work.panoptic is not None:
        objects = seen_objects(fragments, objects, work.panoptic)

    def unseen(box: Box) -> NDArray[np.bool_]:
        mask = store.read("mask", box)
        hidden: NDArray[np.bool_] = mask == np.iinfo(mask.dtype).max
        return hidden

    def write(box: Box, numbers: NDArray[np.uint32]) -> None:
        if numbers.any():
            painted[box.slices] = numbers

    return paint(fragments, objects, shape=shape, unseen=unseen, write=write)


def _lay_stuff(work: Work, rules: PanopticRules, painted: Painted, table: InstanceTable) -> None:
    """Keep what lies below the things of a panoptic scene."""
    rows, cols = work.scene.frame.native_shape
    stuff = zarr.create_array(
        work.store / STUFF, shape=(rows, cols), chunks=WINDOWS[2], dtype=work.label_dtype, fill_value=0, overwrite=True
    )

    def read_ids(box: Box) -> NDArray[np.uint32]:
        found: NDArray[np.uint32] = table.ids[np.asarray(painted[box.slices])]
        return found

    for box, classes in stuff_windows(partial(BlockStore(work.store).read, "mask"), read_ids, (rows, cols), rules):
        if classes.any():
            stuff[box.slices] = classes


def _write_table(path: Path, table: InstanceTable, n_whole: int = 0) -> None:
    part = path.with_suffix(".part")
    columns = {field.name: getattr(table, field.name) for field in fields(InstanceTable)}
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, n_whole=np.array(n_whole), **columns)
    sync(part)
    part.replace(path)
