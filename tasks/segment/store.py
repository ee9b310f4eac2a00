"""The block store of one scene, and the journal that says which of its blocks are whole."""

from __future__ import annotations

import json
import logging
import os
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.errors import StoreError
from tasks.files.durable import sync
from tasks.files.room import writing
from tasks.geometry.box import Box
from tasks.segment.fragments import FRAGMENTS, fragments_checksum

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class BlockReport:
    """What one block came to: the journal's entry.

    Attributes:
        start: Of the block in the native grid.
        stop: Of the block in the native grid.
        checksums: CRC-32 of the block's bytes, per layer, and of its fragments where there are objects.
        n_tiles: Tiles that were predicted.
        seconds: Spent on the block.
    """

    start: tuple[int, ...]
    stop: tuple[int, ...]
    checksums: dict[str, int]
    n_tiles: int
    seconds: float

    @property
    def box(self) -> Box:
        """The block's window."""
        return Box(self.start, self.stop)


@dataclass(frozen=True)
class BlockStore:
    """Layers (``mask``, ``confidence``) of one scene as sharded zarr arrays: a file per block, written once.

    The journal is a file per block, put in place only when the block's bytes are on disk: a missing zarr shard reads
    back as fill value and would pass for *not observed*.

    Attributes:
        folder: Belongs to this scene, input, model, job and plan alone.
    """

    folder: Path

    def create(
        self, shape: tuple[int, ...], block: tuple[int, ...], chunk: tuple[int, ...], layers: dict[str, str]
    ) -> None:
        """Make empty layers, or keep those that are there.

        Args:
            shape: Of the native grid.
            block: Of a shard.
            chunk: Of what is compressed at a time.
            layers: Name to dtype.
        """
        # Here and below, because the command reads the journal alone; arrays are for workers.
        import zarr

        self._journal.mkdir(parents=True, exist_ok=True)
        for name, dtype in layers.items():
            if (self.folder / name / "zarr.json").exists():
                continue
            zarr.create_array(
                self.folder / name,
                shape=shape,
                shards=block,
                chunks=chunk,
                dtype=dtype,
                fill_value=np.iinfo(dtype).max,
                overwrite=True,
            )

    @property
    def block(self) -> tuple[int, ...] | None:
        """Shape of a block; None before ``create``."""
        import zarr

        try:
            array = zarr.open_array(self.folder / "mask", mode="r")
        except (OSError, ValueError, KeyError) as error:
            logger.warning("%s: not a block store: %s", self.folder, error)
            return None
        return array.shards

    @property
    def _journal(self) -> Path:
        return self.folder / "journal"

    def write(self, box: Box, layers: dict[str, NDArray[np.unsignedinteger]]) -> dict[str, int]:
        """Write a block's layers through to the disk and return their checksums."""
        with writing("the block store", self.folder):
            self._write_layers(box, layers)
        return {name: _checksum(values) for name, values in layers.items()}

    def _write_layers(self, box: Box, layers: dict[str, NDArray[np.unsignedinteger]]) -> None:
        import zarr

        for name, values in layers.items():
            array = zarr.open_array(self.folder / name, mode="r+")
            array[box.slices] = values
            shard = (
                self.folder
                / name
                / "c"
                / "/".join(str(a // s) for a, s in zip(box.start, array.shards or box.shape, strict=True))
            )
            # A block of nothing but fill value has no shard.
            if shard.exists():
                sync(shard)
                sync(shard.parent)

    def commit(self, report: BlockReport) -> None:
        """Enter a written block into the journal, at once and for good."""
        path = self._entry(report.box)
        part = path.with_suffix(f".{os.getpid()}.part")
        with writing("the journal", self.folder):
            part.write_text(json.dumps(asdict(report)))
            sync(part)
            part.replace(path)
            sync(path.parent)

    def committed(self, blocks: Iterable[Box]) -> dict[Box, BlockReport]:
        """Return the reports of those ``blocks`` that are whole; bytes are read back and compared."""
        reports = {}
        for box in blocks:
            report = self._report(box)
            if report is not None and self._is_intact(report):
                reports[box] = report
        return reports

    def require_complete(self, blocks: Iterable[Box]) -> None:
        """Raise unless the journal holds every block.

        Raises:
            StoreError: When a block is missing.
        """
        missing = [box.start for box in blocks if self._report(box) is None]
        if missing:
            raise StoreError(
                f"{self.folder}: {len(missing)} blocks are not in the journal, the first at {missing[0]}. Run again"
            )

    def read(self, layer: str, box: Box) -> NDArray[np.unsignedinteger]:
        """Read a window of a layer."""
        import zarr

        values: NDArray[np.unsignedinteger] = np.asarray(zarr.open_array(self.folder / layer, mode="r")[box.slices])
        return values

    def _report(self, box: Box) -> BlockReport | None:
        try:
            raw = json.loads(self._entry(box).read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            logger.warning("%s: the journal's entry %s is unreadable; the block is redone: %s", self.folder, box, error)
            return None
        raw["start"], raw["stop"] = tuple(raw["start"]), tuple(raw["stop"])
        report = BlockReport(**raw)
        return report if report.box == box else None

    def _is_intact(self, report: BlockReport) -> bool:
        for layer, checksum in report.checksums.items():
            try:
                intact = self._found(layer, report.box) == checksum
            except (OSError, ValueError, RuntimeError) as error:
                logger.warning("%s: block %s cannot be read back: %s", self.folder, report.start, error)
                intact = False
            if not intact:
                logger.warning("%s: block %s is not what the journal says; it is redone", self.folder, report.start)
                return False
        return True

    def _found(self, layer: str, box: Box) -> int:
        if layer == FRAGMENTS:
            return fragments_checksum(self.folder, box)
        return _checksum(self.read(layer, box))

    def _entry(self, box: Box) -> Path:
        return self._journal / ("-".join(map(str, box.start)) + ".json")


def _checksum(values: NDArray[np.unsignedinteger]) -> int:
    return zlib.crc32(np.ascontiguousarray(values).data)
