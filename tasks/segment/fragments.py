"""The objects that were found tile by tile, cut where nothing was observed, in a file per block.

A *fragment* is what one tile shows of an object: its class, its score, its place in the scene and its mask. The tile
that a fragment comes from is known by its index in the lattice, so fragments are the same whatever the blocks.

On disk, below the block store: ``fragments/<start of the block>.table.npy`` holds a row per fragment (``dtype``), and
``fragments/<start of the block>.masks.npy`` their masks, row-major bits of each box packed eight to a byte, from the
byte that the row's ``offset`` names. The journal holds the checksum of both under ``FRAGMENTS``.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.predictor import TileObjects
from tasks.files.durable import sync
from tasks.geometry.box import Box
from tasks.segment.lattice import Tile

# Of the files in the journal's checksums.
FRAGMENTS = "fragments"


def table_dtype(ndim: int) -> np.dtype[np.void]:
    """Return what a row of the table holds.

    ``tile``: index of the tile in the lattice; ``number``: place among what was kept of the tile; ``label``: class
    number; ``score``: 0 to 1; ``start``, ``stop``: tight box in the scene; ``first``: first pixel in row-major order;
    ``in_core``: whether it holds a pixel that its tile answers for; ``offset``: first byte of the mask; ``file``: which
    block, once several are read together.
    """
    axes = (ndim,)
    return np.dtype(
        [
            ("tile", "<i4", axes), ("number", "<i4"), ("label", "<u2"), ("score", "<f4"), ("start", "<i4", axes),
            ("stop", "<i4", axes), ("first", "<i4", axes), ("in_core", "?"), ("offset", "<i8"), ("file", "<i4"),
        ]
    )  # fmt: skip


@dataclass
class BlockFragments:
    """Collects the fragments of a block.

    Attributes:
        ndim: Axes of the scene.
    """

    ndim: int
    _rows: list[tuple[Any, ...]] = field(default_factory=list)
    _masks: list[NDArray[np.uint8]] = field(default_factory=list)
    _size: int = 0

    def add(self, tile: Tile, objects: TileObjects, observed: NDArray[np.bool_], inside: Box) -> None:
        """Add what was found in a tile.

        Args:
            tile: Where.
            objects: As the predictor gave them, in the coordinates of ``tile.window``.
            observed: Which pixels of ``inside`` the product answers for; objects are cut to them.
            inside: The part of the tile's window that lies in the scene.
        """
        number = 0
        for label, score, start, mask in zip(
            objects.classes, objects.scores, objects.starts, objects.masks, strict=True
        ):
            origin = tuple(int(a) + w for a, w in zip(start, tile.window.start, strict=True))
            box = Box(origin, tuple(o + n for o, n in zip(origin, mask.shape, strict=True)))
            part = box.intersection(inside)
            seen = mask[part.relative_to(origin).slices] & observed[part.relative_to(inside.start).slices]
            if seen.any():
                self._append((tile, number, int(label), float(score)), part.start, seen)
                number += 1

    def _append(self, facts: tuple[Tile, int, int, float], origin: tuple[int, ...], mask: NDArray[np.bool_]) -> None:
        tile, number, label, score = facts
        # Here, because every block store imports this module, and few find objects.
        from scipy import ndimage

        (tight,) = ndimage.find_objects(mask.view(np.uint8))
        start = tuple(o + s.start for o, s in zip(origin, tight, strict=True))
        stop = tuple(o + s.stop for o, s in zip(origin, tight, strict=True))
        own = np.ascontiguousarray(mask[tight])
        first = np.unravel_index(int(own.argmax()), own.shape)
        core = tile.core.intersection(Box(start, stop))
        in_core = not core.is_empty and bool(own[core.relative_to(start).slices].any())
        place = tuple(s + int(f) for s, f in zip(start, first, strict=True))
        self._rows.append((tile.index, number, label, score, start, stop, place, in_core, self._size, 0))
        packed = np.packbits(own)
        self._masks.append(packed)
        self._size += packed.size

    @property
    def table(self) -> NDArray[np.void]:
        """A row per fragment."""
        return np.array(self._rows, table_dtype(self.ndim))

    @property
    def masks(self) -> NDArray[np.uint8]:
        """Packed masks, one behind the other."""
        return np.concatenate([np.zeros(0, np.uint8), *self._masks])


def write_fragments(store: Path, block: Box, found: BlockFragments) -> int:
    """Write the fragments of a block through to the disk.

    Args:
        store: Folder of the block store.
        block: In the native grid.
        found: What its tiles showed.

    Returns:
        The checksum for the journal.
    """
    folder = store / FRAGMENTS
    folder.mkdir(exist_ok=True)
    for path, values in zip(_files(store, block), (found.table, found.masks), strict=True):
        part = path.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            np.save(file, values)
        sync(part)
        part.replace(path)
    sync(folder)
    return _checksum(found.table, found.masks)


def fragments_checksum(store: Path, block: Box) -> int:
    """Read a block's fragments back and return their checksum.

    Raises:
        OSError: When a file is missing.
        ValueError: When a file is damaged.
    """
    try:
        table, masks = (np.load(path, allow_pickle=False) for path in _files(store, block))
    except EOFError as error:
        raise ValueError(f"fragments of the block at {block.start}: {error}") from error
    return _checksum(table, masks)


@dataclass(frozen=True)
class Fragments:
    """All fragments of a scene in the order of their tiles, whatever the blocks; masks stay on disk.

    Attributes:
        table: Rows of ``table_dtype``, ordered by ``tile`` and ``number``.
        files: Packed masks of each block.
    """

    table: NDArray[np.void]
    files: tuple[NDArray[np.uint8], ...]

    def __len__(self) -> int:
        return len(self.table)

    def box(self, k: int) -> Box:
        """Return the tight box of a fragment in the scene."""
        row = self.table[k]
        return Box(tuple(row["start"].tolist()), tuple(row["stop"].tolist()))

    def mask(self, k: int) -> NDArray[np.bool_]:
        """Read the mask of a fragment, of its box."""
        row, shape = self.table[k], self.box(k).shape
        n_pixels = int(np.prod(shape))
        begin = int(row["offset"])
        packed = self.files[int(row["file"])][begin : begin + -(-n_pixels // 8)]
        bits: NDArray[np.bool_] = np.unpackbits(packed, count=n_pixels).reshape(shape).view(np.bool_)
        return bits

    def by_tile(self) -> dict[tuple[int, ...], range]:
        """Return which rows come from each tile."""
        tiles = self.table["tile"]
        if len(tiles) == 0:
            return {}
        begins = np.flatnonzero(np.concatenate([[True], (tiles[1:] != tiles[:-1]).any(1)]))
        ends = [*begins[1:].tolist(), len(tiles)]
        return {tuple(tiles[a].tolist()): range(a, b) for a, b in zip(begins.tolist(), ends, strict=True)}


def read_fragments(store: Path, blocks: Iterable[Box], ndim: int) -> Fragments:
    """Open the fragments of all blocks.

    Args:
        store: Folder of the block store, whose journal holds every block.
        blocks: In the native grid.
        ndim: Axes of the scene.
    """
    tables, files = [np.zeros(0, table_dtype(ndim))], []
    for number, block in enumerate(blocks):
        table_file, masks_file = _files(store, block)
        table = np.load(table_file, allow_pickle=False)
        table["file"] = number
        tables.append(table)
        # A file without a byte cannot be mapped.
        files.append(np.load(masks_file, mmap_mode="r" if len(table) else None, allow_pickle=False))
    table = np.concatenate(tables)
    order = np.lexsort((table["number"], *(table["tile"][:, axis] for axis in reversed(range(ndim)))))
    return Fragments(table[order], tuple(files))


def _files(store: Path, block: Box) -> tuple[Path, Path]:
    name = "-".join(map(str, block.start))
    return store / FRAGMENTS / f"{name}.table.npy", store / FRAGMENTS / f"{name}.masks.npy"


def _checksum(table: NDArray[np.void], masks: NDArray[np.uint8]) -> int:
    return zlib.crc32(masks.tobytes(), zlib.crc32(table.tobytes()))
