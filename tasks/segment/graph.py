"""Who runs the blocks: a Dask cluster, one future per block, or this process; both give the same bytes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ParamSpec, Protocol, TypeVar

from distributed import Client, KilledWorker, as_completed

from tasks.box import Box
from tasks.errors import SceneError
from tasks.segment.block import segment_block
from tasks.segment.store import BlockReport
from tasks.segment.work import Work

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

# Enough that a slot finds its next block waiting, few enough that priorities and cancelling mean something.
_IN_FLIGHT_PER_SLOT = 2


class Engine(Protocol):
    """Runs blocks on slots, each of which holds one device."""

    @property
    def n_slots(self) -> int:
        """How many blocks run at a time."""
        ...

    def run_blocks(self, work: Work, blocks: Iterable[Box]) -> Iterator[BlockReport]:
        """Segment blocks and yield their reports in the order in which they end."""
        ...

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function once, beside the blocks."""
        ...

    def call_on_slot(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function once where a device is, when it is free."""
        ...


class PlainEngine:
    """Runs everything in this process, one block after the other."""

    n_slots = 1

    def run_blocks(self, work: Work, blocks: Iterable[Box]) -> Iterator[BlockReport]:
        """Segment blocks in order."""
        for block in blocks:
            yield segment_block(work, block)

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call it here."""
        return function(*args, **kwargs)

    call_on_slot = call


@dataclass(frozen=True)
class DaskEngine:
    """Runs each block as a future on a worker that has the slot's resource.

    A block that is lost with its worker is run again alone; when it takes a worker down alone as well, the scene
    fails with the block's name.

    Attributes:
        client: Of a running cluster, local or not.
        resource: What a worker offers per device: ``CPU`` or ``GPU``.
        n_slots: How many of these the cluster has.
    """

    client: Client
    resource: str
    n_slots: int

    def run_blocks(self, work: Work, blocks: Iterable[Box]) -> Iterator[BlockReport]:
        """Keep a bounded number of blocks in flight.

        Raises:
            SceneError: When a block takes its worker down twice.
        """
        waiting, lost = iter(blocks), []
        running = as_completed(loop=self.client.loop)
        names: dict[Any, Box] = {}
        try:
            for _ in range(self.n_slots * _IN_FLIGHT_PER_SLOT):
                self._submit_next(work, waiting, running, names)
            for future in running:
                block = names.pop(future)
                self._submit_next(work, waiting, running, names)
                try:
                    yield future.result()
                except KilledWorker:
                    logger.warning("%s: block %s was lost with its worker; it runs again alone", work.scene.id, block)
                    lost.append(block)
        finally:
            self.client.cancel(list(names), force=True)
        for block in lost:
            yield self._run_alone(work, block)

    def _submit_next(self, work: Work, waiting: Iterator[Box], running: Any, names: dict[Any, Box]) -> None:  # noqa: ANN401 - as_completed has no type
        block = next(waiting, None)
        if block is not None:
            future = self._submit(segment_block, work, block)
            names[future] = block
            running.add(future)

    def _run_alone(self, work: Work, block: Box) -> BlockReport:
        try:
            report: BlockReport = self._submit(segment_block, work, block).result()
        except KilledWorker as error:
            raise SceneError(
                f"{work.scene.id}: the block at {block.start} takes its worker down, alone as well (out of memory?). "
                "Use smaller blocks (tiling.block) or a smaller batch (tiling.batch)"
            ) from error
        return report

    def _submit(self, function: Callable[..., Any], *args: object) -> Any:  # noqa: ANN401 - distributed has no types
        return self.client.submit(function, *args, resources={self.resource: 1}, pure=False, retries=0)

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call it on any worker, in the thread that no device is held by, and wait."""
        result: R = self.client.submit(function, *args, **kwargs, pure=False).result()
        return result

    def call_on_slot(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call it on any slot and wait."""
        future = self.client.submit(function, *args, **kwargs, resources={self.resource: 1}, pure=False)
        result: R = future.result()
        return result
