"""Who runs the blocks: a Dask cluster, one future per block, or this process; both give the same bytes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from threading import Event, Lock
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

from distributed import Client, KilledWorker, as_completed, wait

from tasks.errors import ClusterError, SceneError
from tasks.geometry.box import Box
from tasks.segment.store import BlockReport
from tasks.segment.work import Work

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

# Of blocks of an urgent scene; others have 0. A slot takes the block with the highest number first.
URGENT = 10
# Enough that a slot finds its next block waiting, few enough that priorities and cancelling mean something.
_IN_FLIGHT_PER_SLOT = 2


@dataclass(frozen=True)
class Named(Generic[R]):
    """A function that is imported where it is called: who sends it to a worker does not load what it needs.

    Attributes:
        module: Module that holds it.
        name: Name in the module.
    """

    module: str
    name: str

    def __call__(self, *args: Any, **kwargs: Any) -> R:  # noqa: ANN401 - whatever the function takes
        """Call the function."""
        function: Callable[..., R] = getattr(import_module(self.module), self.name)
        return function(*args, **kwargs)


_SEGMENT_BLOCK: Named[BlockReport] = Named("tasks.segment.block", "segment_block")


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

    def at(self, priority: int) -> Engine:
        """Return the same engine for work that goes before what has a lower priority."""
        ...

    def stop(self) -> None:
        """Take back what has not begun, and begin nothing any more."""
        ...


class Slots(Protocol):
    """The slots of a cluster."""

    @property
    def n_slots(self) -> int:
        """How many there are now; never 0."""
        ...

    @property
    def badge(self) -> str | None:
        """A resource that only workers offer which may take this run's work; None where all may."""
        ...


@dataclass(frozen=True)
class FixedSlots:
    """Slots of a cluster that belongs to one run."""

    n_slots: int
    badge: None = None


class PlainEngine:
    """Runs everything in this process, one block after the other."""

    n_slots = 1

    def run_blocks(self, work: Work, blocks: Iterable[Box]) -> Iterator[BlockReport]:
        """Segment blocks in order."""
        for block in blocks:
            yield _SEGMENT_BLOCK(work, block)

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call it here."""
        return function(*args, **kwargs)

    call_on_slot = call

    def at(self, priority: int) -> PlainEngine:
        """Return itself."""
        return self

    def stop(self) -> None:
        """Do nothing: what runs here ends with its caller."""


@dataclass(frozen=True, kw_only=True)
class DaskEngine:
    """Runs each block as a future on a worker that has the slot's resource.

    Dask blames whatever a dead worker had been given, its queue included. What is lost so is run again while nothing
    else is in flight; only what takes a worker down alone is to blame, and fails its scene by name.

    Attributes:
        client: Of a running cluster, local or not.
        resource: What a worker offers per device: ``CPU`` or ``GPU``.
        slots: How many of these the cluster has, and what work has to ask for to get to workers that were checked.
        priority: Of what it is given; the highest goes first, on a cluster that several runs share as well.
    """

    client: Client
    resource: str
    slots: Slots
    priority: int = 0
    _gate: Lock = field(default_factory=Lock, repr=False, compare=False)
    _in_flight: set[Any] = field(default_factory=set, repr=False, compare=False)
    _stopped: Event = field(default_factory=Event, repr=False, compare=False)
    _given_up: list[ClusterError] = field(default_factory=list, repr=False, compare=False)

    @property
    def n_slots(self) -> int:
        """How many blocks run at a time, now."""
        return self.slots.n_slots

    def run_blocks(self, work: Work, blocks: Iterable[Box]) -> Iterator[BlockReport]:
        """Keep a bounded number of blocks in flight.

        Raises:
            SceneError: When a block takes its worker down alone.
        """
        waiting, lost = iter(blocks), []
        running = as_completed(loop=self.client.loop)
        names: dict[Any, Box] = {}
        try:
            self._fill(work, waiting, running, names)
            for future in running:
                block = names.pop(future)
                # As many as there is room for now: workers come and go.
                self._fill(work, waiting, running, names)
                try:
                    yield self._result(future)
                except KilledWorker:
                    logger.warning("%s: block %s was lost with its worker; it runs again alone", work.scene.id, block)
                    lost.append(block)
        finally:
            self.client.cancel(list(names), force=True)
        for block in lost:
            yield self._run_block_alone(work, block)

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call it on any worker, in the thread that no device is held by, and wait."""
        return self._call(partial(function, *args, **kwargs), {})

    def call_on_slot(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call it on any slot and wait."""
        return self._call(partial(function, *args, **kwargs), {self.resource: 1})

    def at(self, priority: int) -> DaskEngine:
        """Return the same engine for work of another priority."""
        return replace(self, priority=priority)

    def stop(self) -> None:
        """Take back what has not begun; whoever waits for it gets a ``CancelledError``."""
        self._stopped.set()
        self.client.cancel(list(self._in_flight), force=True)

    def give_up(self, why: ClusterError) -> None:
        """Take back everything; whoever waits for it, or asks for more, gets the reason."""
        self._given_up.append(why)
        self.client.cancel(list(self._in_flight), force=True)

    def _fill(self, work: Work, waiting: Iterator[Box], running: Any, names: dict[Any, Box]) -> None:  # noqa: ANN401 - as_completed has no type
        while len(names) < self.n_slots * _IN_FLIGHT_PER_SLOT and (block := next(waiting, None)) is not None:
            with self._gate:
                future = self._submit(partial(_SEGMENT_BLOCK, work, block), {self.resource: 1})
            names[future] = block
            running.add(future)

    def _run_block_alone(self, work: Work, block: Box) -> BlockReport:
        try:
            return self._run_alone(partial(_SEGMENT_BLOCK, work, block), {self.resource: 1})
        except KilledWorker as error:
            raise SceneError(
                f"{work.scene.id}: the block at {block.start} takes its worker down, alone as well (out of memory?). "
                "Use smaller blocks (tiling.block) or a smaller batch (tiling.batch)"
            ) from error

    def _call(self, task: Callable[[], R], resources: dict[str, int]) -> R:
        with self._gate:
            future = self._submit(task, resources)
        try:
            result: R = self._result(future)
        except KilledWorker:
            logger.warning("%s was lost with its worker; it runs again alone", future.key)
            return self._run_alone(task, resources)
        return result

    def _run_alone(self, task: Callable[[], R], resources: dict[str, int]) -> R:
        """Run it when everything else has ended, and let nothing begin meanwhile."""
        with self._gate:
            self._drain()
            result: R = self._result(self._submit(task, resources))
        return result

    def _drain(self) -> None:
        while running := [future for future in list(self._in_flight) if not future.done()]:
            # A scene that fails takes its own blocks back, which ends them as well.
            with suppress(CancelledError), self.client.as_current():
                wait(running)

    def _result(self, future: Any) -> Any:  # noqa: ANN401 - distributed has no types
        try:
            return future.result()
        except CancelledError:
            self._refuse_if_lost()
            raise

    def _refuse_if_lost(self) -> None:
        if self._given_up:
            raise self._given_up[0]
        if self.client.status != "running" and not self._stopped.is_set():
            raise ClusterError(
                "the connection to the Dask scheduler was lost. What is done is kept: start the scheduler, run again"
            )

    def _submit(self, task: Callable[[], Any], resources: dict[str, int]) -> Any:  # noqa: ANN401 - distributed has no types
        if self._stopped.is_set():
            raise CancelledError("the run was stopped")
        self._refuse_if_lost()
        resources = resources if self.slots.badge is None else {**resources, self.slots.badge: 1}
        future = self.client.submit(task, resources=resources, pure=False, retries=0, priority=self.priority)
        self._in_flight.add(future)
        future.add_done_callback(self._in_flight.discard)
        return future
