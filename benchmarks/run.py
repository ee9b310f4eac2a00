"""Runs one batch through the real flow in a process of its own and says how long each stage took.

``python -m benchmarks.run FILE.json`` reads a batch, ``null`` or a module to import on the workers beforehand, and
where to put the times; ``run_batch`` is the same from outside, with wall time and peak memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil

from benchmarks.machine import ForeignLoad

_STAGES = ("check", "identify_input", "measure", "plan", "segment_scene", "finish", "analyse", "publish")
_SAMPLE_S = 0.2


@dataclass(frozen=True)
class RunTimes:
    """What one run came to.

    Attributes:
        wall_s: From outside, the interpreter's start and all imports included.
        inside_s: From the start of ``measure`` (which reads the weights) to the end of ``publish``.
        stages_s: Of each step of the flow.
        peak_mb: Of the process tree, shared pages once.
        largest_mb: Of the largest single process.
        foreign_cores: Mean cores that others used meanwhile.
    """

    wall_s: float
    inside_s: float
    stages_s: dict[str, float]
    peak_mb: float
    largest_mb: float
    foreign_cores: float


@dataclass
class _Memory:
    """Samples a process tree until it is told to stop."""

    root: psutil.Process
    peak: float = 0.0
    largest: float = 0.0
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def sampled(self) -> Iterator[None]:
        thread = threading.Thread(target=self._sample, daemon=True)
        thread.start()
        yield
        self._over.set()
        thread.join()

    def _sample(self) -> None:
        while not self._over.wait(_SAMPLE_S):
            sizes = [_proportional_mb(process) for process in _tree(self.root)]
            self.peak = max(self.peak, sum(sizes))
            self.largest = max(self.largest, max(sizes, default=0.0))


def _tree(root: psutil.Process) -> list[psutil.Process]:
    try:
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _proportional_mb(process: psutil.Process) -> float:
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def run_batch(batch: dict[str, Any], *, imported_before: str | None = None) -> RunTimes:
    """Run a batch in a fresh process.

    Args:
        batch: Fields of ``flows.batch.segment.Batch``.
        imported_before: A module that workers import before the stages are timed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        request = {"batch": batch, "import": imported_before, "times": str(folder / "times.json")}
        (folder / "request.json").write_text(json.dumps(request))
        load, begin = ForeignLoad(), time.perf_counter()
        command = [sys.executable, "-m", "benchmarks.run", str(folder / "request.json")]
        with subprocess.Popen(command) as process:
            memory = _Memory(psutil.Process(process.pid))
            with memory.sampled():
                code = process.wait()
        wall = time.perf_counter() - begin
        if code:
            raise SystemExit(f"the run ended with exit code {code}")
        times = json.loads((folder / "times.json").read_text())
    return RunTimes(wall, times["inside"], times["stages"], memory.peak, memory.largest, load.cores())


def main(path: Path) -> None:
    """Run what ``path`` asks for, every step of the flow timed."""
    request = json.loads(path.read_text())
    flow, steps = import_module("flows.batch.segment"), import_module("flows.batch.steps")
    spans: dict[str, tuple[float, float]] = {}
    for name in _STAGES:
        setattr(steps, name, _timed(getattr(steps, name), name, spans))
    if request["import"]:
        flow.open_engine = _warm(flow.open_engine, request["import"])
    (outcome,) = flow.segment_batch(flow.Batch.model_validate(request["batch"]))
    if outcome.status != "done":
        raise SystemExit(f"{outcome.scene}: {outcome.status}: {outcome.error}")
    stages = {name: stop - start for name, (start, stop) in spans.items()}
    times = {"stages": stages, "inside": spans["publish"][1] - spans["measure"][0]}
    Path(request["times"]).write_text(json.dumps(times))


def _timed(step: Callable[..., Any], name: str, spans: dict[str, tuple[float, float]]) -> Callable[..., Any]:
    def call(*args: object) -> Any:  # noqa: ANN401 - whatever the step returns
        begin = time.perf_counter()
        result = step(*args)
        spans[name] = begin, time.perf_counter()
        return result

    return call


def _warm(open_engine: Callable[..., Any], module: str) -> Callable[..., Any]:
    @contextmanager
    def opened(settings: object) -> Iterator[Any]:
        with open_engine(settings) as engine:
            engine.client.run(import_module, module)
            yield engine

    return opened


if __name__ == "__main__":
    main(Path(sys.argv[1]))
