"""The process that local workers are forked from: it imports what all of them need.

It is the first thing that a command starts, so that it imports on another core while the command reads its job. A
worker that is started again has it all as well. Networks are imported by each worker: few libraries of theirs may be
forked once they are at work.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver

from flows.orchestration.interruption import unheard
from tasks.files.safe_path import SAFE_PATH

logger = logging.getLogger(__name__)

# glibc otherwise gives memory back to the kernel after every layer and takes it again: a third of float32 time.
_ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_TOP_PAD_": str(2**26), "MALLOC_MMAP_MAX_": "0"}
# What is read when a process starts, or a library is loaded; a fork has it from the seed. One thread of OpenBLAS is no
# thread, and only what has none may be forked. Python's own `-c` would import what lies in the current folder. What
# goes wrong in a block comes back with its error; Dask would print its traceback onto the terminal as well.
ENVIRONMENT = _ALLOCATOR | SAFE_PATH | {"OPENBLAS_NUM_THREADS": "1", "DASK_LOGGING__DISTRIBUTED": "critical"}
_MODULES = [
    "flows.cluster.seed_end",
    "distributed",
    "flows.cluster.leaving",
    "tasks.segment.block",
    "tasks.products.finish",
]
# The address of a Unix socket has room for 107 bytes, of which Python's own names take these.
_LONGEST_FOLDER = 107 - len("/pymp-12345678/listener-12345678")
# What is made in it has a random name and belongs to this user alone.
_SHORT_FOLDER = "/tmp"


def start_seed() -> str:
    """Start the process, unless it runs already; return at once, before anything is imported there.

    Returns:
        How Dask is to start workers: ``forkserver``, or ``spawn`` where no such process can be reached.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(_MODULES)
    try:
        # A signal for the command is none for its workers.
        with _environment(), _short_temporary_folder(), unheard():
            forkserver.ensure_running()
    except OSError as error:
        logger.info("workers import everything themselves: no process to fork them from (%s)", error)
        return "spawn"
    return "forkserver"


@contextmanager
def _environment() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _short_temporary_folder() -> Iterator[None]:
    before = tempfile.tempdir
    if len(os.fsencode(tempfile.gettempdir())) > _LONGEST_FOLDER:
        tempfile.tempdir = _SHORT_FOLDER
    try:
        yield
    finally:
        tempfile.tempdir = before
