"""Threads that tests start and end, and those that libraries keep for whoever comes next."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

# Pools and loops that a library, or a predictor, keeps for as long as it lives, and in which nothing happens that
# nobody asked for.
KEPT = ("Dask-", "IO loop", "TCP-Executor-", "asyncio_", "fsspecIO", "zarr", "tile_", "tqdm_monitor")
# Of a server of the tests that has ended: it waits for a client that keeps its connection, and ends with that.
ANSWERING = "(process_request_thread)"
_ENDING_S = 10.0


@contextmanager
def none_left(what: str) -> Iterator[None]:
    """Fail where a thread that was started within the context is still there some time after it."""
    before = set(threading.enumerate())
    yield
    limit = time.monotonic() + _ENDING_S
    started = [one for one in threading.enumerate() if one not in before and not _is_kept(one.name)]
    for one in started:
        one.join(max(0.0, limit - time.monotonic()))
    left = sorted(one.name for one in started if one.is_alive())
    if left:
        pytest.fail(f"{what} left threads behind, which go on while others are tested: {', '.join(left)}")


def _is_kept(name: str) -> bool:
    return name.startswith(KEPT) or ANSWERING in name


def shares(request: pytest.FixtureRequest) -> bool:
    """Tell whether a test uses a fixture of its file that others of the file use as well, with threads of its own."""
    found = request.node._fixtureinfo.name2fixturedefs.values()
    file = request.node.getparent(pytest.Module).nodeid
    return any(one.baseid == file and one.scope != "function" for (*_, one) in found)


def end_threads_of_prefect() -> None:
    """End what Prefect keeps for later flows: a loop in which a connection draws random numbers whenever it likes."""
    from prefect._internal.concurrency import threads
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (EventsWorker, APILogWorker):
        worker.drain_all(timeout=_ENDING_S, at_exit=False)
    for loop in (threads._global_loop, threads._run_sync_loop):
        if loop is not None and loop.thread.is_alive():
            loop.shutdown()
            loop.thread.join(_ENDING_S)
