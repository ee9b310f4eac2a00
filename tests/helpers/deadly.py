"""A scene that kills whoever reads it; in a module of its own, which workers can import whatever starts the tests."""

import ctypes
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from arrays import ArrayReader

from tasks.geometry.box import Box
from tasks.geometry.frame import Frame


@dataclass(frozen=True)
class DeadlyScene:
    """Kills whatever process reads row ``deadly``; at most once, where it is to be so."""

    id: str
    folder: Path
    frame: Frame
    n_channels: int
    deadly: int
    once: bool

    @contextmanager
    def open(self):
        yield DeadlyReader(self)


class DeadlyReader(ArrayReader):
    def __init__(self, scene: DeadlyScene) -> None:
        image, valid = np.load(scene.folder / "image.npy"), np.load(scene.folder / "valid.npy")
        super().__init__(image, valid, scene.frame)
        self.scene = scene

    def read(self, box: Box):
        died = self.scene.folder / "died"
        if box.start[0] <= self.scene.deadly < box.stop[0] and not (self.scene.once and died.exists()):
            died.touch()
            os._exit(1)
        return super().read(box)


def is_alive() -> int:
    return os.getpid()


def begun_pid(folder: Path, seconds: float, holds_all: bool = False) -> int:
    """Tell by a file called after its process that it has begun; hold up every thread of that, where asked to."""
    (folder / str(os.getpid())).touch()
    if holds_all:
        ctypes.PyDLL(None).sleep(int(seconds))
    else:
        time.sleep(seconds)
    return os.getpid()


def held(gate: Path) -> float:
    """Hold a slot until a file is there; return the time."""
    while not gate.exists():
        time.sleep(0.01)
    return time.time()


def n_known_tasks(dask_worker) -> int:
    """Return how many tasks a worker has been told of and not to forget."""
    return len(dask_worker.state.tasks)


def about_worker() -> tuple[str, str, str]:
    """Return the command line of this worker's parent, and what C libraries are told."""
    asked_by = " ".join(psutil.Process(os.getppid()).cmdline())
    return asked_by, os.environ["OMP_NUM_THREADS"], os.environ["MALLOC_TRIM_THRESHOLD_"]


def slow_pid(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()
