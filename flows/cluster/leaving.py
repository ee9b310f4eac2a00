"""Runs in a worker: it gives its blocks back before it ends, so that nobody takes them for what ended it.

A host is taken away, a cluster made smaller: workers get SIGTERM, and Dask blames whatever they were in the middle of.
What is given back runs elsewhere at once, as if it had never begun.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from contextlib import suppress
from threading import current_thread, main_thread

from distributed import Status, Worker, WorkerPlugin

logger = logging.getLogger(__name__)

_NAME = "swathe-gives-back"
# Without its scheduler a worker has nothing to give back.
_ANSWER_S = 5.0


class GivesBack(WorkerPlugin):
    """Sees to it that a worker gives its blocks back, whether a signal ends it or whoever started it."""

    name = _NAME

    def setup(self, worker: Worker) -> None:
        """Answer to SIGTERM, which the thread that started this process may have kept from it until now."""
        if current_thread() is not main_thread():
            # Signals are for whoever has this worker among other things of its process.
            return
        before = signal.getsignal(signal.SIGTERM)
        asyncio.get_running_loop().add_signal_handler(
            signal.SIGTERM, lambda: asyncio.ensure_future(_leave(worker, before))
        )
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))

    async def teardown(self, worker: Worker) -> None:
        """Give back what is left."""
        await _give_back(worker)


async def dask_setup(worker: Worker) -> None:
    """Dask calls this in workers of our own, which have this module among what they load first."""
    await add_to(worker)


async def add_to(worker: Worker) -> None:
    """Let a worker give its blocks back when it ends."""
    if _NAME not in worker.plugins:
        await worker.plugin_add(plugin=GivesBack(), name=_NAME)


async def _leave(worker: Worker, before: object) -> None:
    if callable(before):
        await _give_back(worker)
        # Dask's own, where no nanny looks after the worker: it ends the process in good order, unless the worker has
        # noticed that it was taken off the list and is in the middle of closing. Both at once wait for each other.
        asyncio.get_running_loop().call_later(_ANSWER_S, os._exit, 0)
        before(signal.SIGTERM, None)
        return
    # Otherwise it would notice that it was taken off the list, and have its nanny end as well.
    worker.status = Status.closing
    await _give_back(worker)
    # The nanny starts another process, unless it is to end itself.
    os._exit(0)


async def _give_back(worker: Worker) -> None:
    told = worker.scheduler.unregister(
        address=worker.address, expected=True, close=False, stimulus_id=f"worker-gives-back-{time.time()}"
    )
    with suppress(OSError, TimeoutError):
        await asyncio.wait_for(told, _ANSWER_S)
