"""Workers that give no sign of life, such as those that were stopped in the middle of a block, lose what they have.

A worker's sign of life is what it tells the scheduler every second or so, from a thread that no block is in. One that
is silent because a block lets no other thread run is alive all the same: its nanny sees that its process runs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

import psutil
from distributed import Client, Nanny

logger = logging.getLogger(__name__)

_LOOKING_S = 2.0
# Together less than a minute.
_SILENT_S = 30.0
_ANSWER_S = 15.0
# More than any look takes.
_STOOD_STILL_S = 20.0
_STOPPED = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)


@dataclass
class Pulse:
    """When workers were last heard of, by the clock of whoever listens.

    Attributes:
        silent_s: How long a worker may say nothing.
    """

    silent_s: float
    _said: dict[str, tuple[float, float]] = field(default_factory=dict)
    _looked: float | None = None

    def silent(self, last_seen: Mapping[str, float], now: float) -> list[str]:
        """Return the workers that have said nothing for too long.

        Args:
            last_seen: When the scheduler heard of each worker, by its own clock: only that it changes matters.
            now: Seconds.
        """
        if self._looked is not None and now - self._looked > _STOOD_STILL_S:
            # It was this process that stood still.
            self._said = {}
        self._looked = now
        known = {worker: self._said.get(worker, (seen, now)) for worker, seen in last_seen.items()}
        self._said = {worker: known[worker] if known[worker][0] == seen else (seen, now)
                      for worker, seen in last_seen.items()}  # fmt: skip
        return [worker for worker, (_, since) in self._said.items() if now - since > self.silent_s]


@contextmanager
def pulse_watched(client: Client) -> Iterator[None]:
    """Look for workers that give no sign of life for as long as the context lasts."""
    ended = Event()

    def watch() -> None:
        pulse = Pulse(_SILENT_S)
        while not ended.wait(_LOOKING_S):
            # Of a scheduler that is away, or a worker that has left meanwhile.
            with suppress(OSError, TimeoutError, RuntimeError, LookupError, ValueError):
                workers = client.sync(identity, client)["workers"]
                seen = {address: float(worker["last_seen"]) for address, worker in workers.items()}
                for worker in pulse.silent(seen, time.monotonic()):
                    client.sync(_look_after, client, worker)

    thread = Thread(target=watch, name="pulse", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_ANSWER_S)


async def identity(client: Client) -> Any:  # noqa: ANN401 - distributed has no types
    """Return what the scheduler knows, all its workers included."""
    if client.scheduler is None:
        raise ConnectionError("the client is closed")
    return await client.scheduler.identity(n_workers=-1)


async def _look_after(client: Client, worker: str) -> None:
    """Take from a silent worker what it has, but where its nanny says that it is at work."""
    asked = client.run(_replaced_if_frozen, workers=[worker], nanny=True, on_error="return")
    with suppress(OSError, TimeoutError):
        answer = (await asyncio.wait_for(asked, _ANSWER_S)).get(worker)
        if answer is False:
            return
        if answer is True:
            logger.warning("worker %s was frozen, and is started anew; its blocks run again", worker)
            return
    # It has no nanny, or one that does not answer either.
    stimulus = f"no-sign-of-life-{time.time()}"
    if client.scheduler is not None:
        await client.scheduler.unregister(address=worker, expected=True, close=False, stimulus_id=stimulus)
        logger.warning("worker %s gives no sign of life; its blocks run elsewhere", worker)


async def _replaced_if_frozen(dask_worker: Nanny) -> bool:
    """Runs in the process of a nanny: end its worker where that was stopped; return whether it was."""
    pid = dask_worker.pid
    if pid is None or psutil.Process(pid).status() not in _STOPPED:
        return False
    # Before it ends, so that nobody takes its blocks for what ended it.
    await dask_worker.scheduler.unregister(
        address=dask_worker.worker_address, expected=True, close=False, stimulus_id=f"worker-frozen-{time.time()}"
    )
    os.kill(pid, signal.SIGKILL)
    return True
