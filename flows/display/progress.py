"""Progress of a run: bars on a terminal, plain lines in a log, at most one count a second to whoever else looks."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from flows.orchestration.current import orchestrator
from flows.orchestration.orchestrator import Counter

logger = logging.getLogger(__name__)

_COUNT_INTERVAL_S = 1.0
_LINE_INTERVAL_S = 10.0


@dataclass
class Pace:
    """Lets one through per interval, whoever asks: all scenes of a run together must not flood the server."""

    interval_s: float = _COUNT_INTERVAL_S
    _last: float = field(default_factory=time.monotonic, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def is_due(self) -> bool:
        """Tell whether it is time, and if so count it."""
        with self._lock:
            now = time.monotonic()
            if now - self._last < self.interval_s:
                return False
            self._last = now
            return True


@dataclass(kw_only=True)
class SceneProgress:
    """How far one scene is, told to whoever looks.

    Attributes:
        label: What is counted, for people.
        total: Blocks in all.
        done: Blocks done.
        bars: Of the terminal.
        bar: The scene's.
        is_terminal: Whether anybody sees bars.
        pace: Of all scenes together.
        told: Elsewhere, such as on a page of Prefect's.
        free: Takes that back when the scene ends: the next one goes on with it, and a run has few of them.
    """

    label: str
    total: int
    done: int
    bars: Progress
    bar: TaskID
    is_terminal: bool
    pace: Pace
    told: Counter
    free: list[Counter]
    _said: float = field(default_factory=time.monotonic, init=False)

    def advance(self) -> None:
        """Count one more block."""
        self.done += 1
        now = time.monotonic()
        self.bars.update(self.bar, completed=self.done)
        if not self.is_terminal and now - self._said >= _LINE_INTERVAL_S:
            self._said = now
            logger.info("%s: %d of %d blocks", self.label, self.done, self.total)
        if self.done < self.total:
            if self.pace.is_due():
                self.told.tell(self.done, self.total)
            return
        # A thousand full bars would hide those that still move.
        self.bars.remove_task(self.bar)
        if self.told.is_shown:
            self.told.tell(self.done, self.total)
        self.free.append(self.told)


class BatchProgress:
    """The bars of all scenes of a run, and how many of the scenes have ended."""

    def __init__(self, console: Console, n_scenes: int) -> None:
        self._console = console
        self._lock = Lock()
        self._pace, self._batch_pace = Pace(), Pace()
        self._n_scenes, self._n_ended = n_scenes, 0
        self._told = orchestrator().counter("Scenes of this run")
        self._free: list[Counter] = []
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("blocks"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    @contextmanager
    def shown(self) -> Iterator[BatchProgress]:
        """Show the bars for as long as the context lasts."""
        with self._bars:
            yield self

    def scene(self, label: str, total: int, done: int) -> SceneProgress:
        """Begin a scene of ``total`` blocks, ``done`` of which an earlier run has left."""
        with self._lock:
            bar = self._bars.add_task(label, total=total, completed=done)
            told = self._free.pop() if self._free else orchestrator().counter("")
        told.label = f"{label}: blocks"
        return SceneProgress(
            label=label,
            total=total,
            done=done,
            bars=self._bars,
            bar=bar,
            is_terminal=self._console.is_terminal,
            pace=self._pace,
            told=told,
            free=self._free,
        )

    def scene_ended(self) -> None:
        """Count a scene; one that arrived while the run was under way makes it longer."""
        self._n_ended += 1
        total = max(self._n_scenes, self._n_ended)
        if self._n_ended >= self._n_scenes or self._batch_pace.is_due():
            self._told.tell(self._n_ended, total)
