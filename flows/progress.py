"""Progress of a run: bars on a terminal, plain lines in a log, at most one artifact a second in the Prefect UI."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import cast
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import PrefectException
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

logger = logging.getLogger(__name__)

_ARTIFACT_INTERVAL_S = 1.0
_LINE_INTERVAL_S = 10.0


@dataclass
class Pace:
    """Lets one through per interval, whoever asks: all scenes of a run together must not flood the server."""

    interval_s: float = _ARTIFACT_INTERVAL_S
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


@dataclass
class Told:
    """A progress artifact of the Prefect UI; a server that is away must not cost the scene."""

    label: str
    artifact: UUID | None = None

    def tell(self, done: int, total: int) -> None:
        """Make the artifact, or bring it up to date."""
        percent = 100.0 * done / max(1, total)
        try:
            if self.artifact is None:
                self.artifact = cast("UUID", create_progress_artifact(progress=percent, description=self.label))
            else:
                update_progress_artifact(self.artifact, progress=percent, description=self.label)
        except (PrefectException, httpx.HTTPError) as error:
            logger.debug("%s: progress could not be told to Prefect: %s", self.label, error)


@dataclass
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
        told: In the Prefect UI.
        free: Takes that back when the scene ends: the next one goes on with it, and a run has few of them.
    """

    label: str
    total: int
    done: int
    bars: Progress
    bar: TaskID
    is_terminal: bool
    pace: Pace
    told: Told
    free: list[Told]
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
        if self.told.artifact is not None:
            self.told.tell(self.done, self.total)
        self.free.append(self.told)


class BatchProgress:
    """The bars of all scenes of a run, and how many of the scenes have ended."""

    def __init__(self, console: Console, n_scenes: int) -> None:
        self._console = console
        self._lock = Lock()
        self._pace, self._batch_pace = Pace(), Pace()
        self._n_scenes, self._n_ended = n_scenes, 0
        self._told = Told("Scenes of this run")
        self._free: list[Told] = []
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
            told = self._free.pop() if self._free else Told("")
        told.label = f"{label}: blocks"
        return SceneProgress(
            label, total, done, self._bars, bar, self._console.is_terminal, self._pace, told, self._free
        )

    def scene_ended(self) -> None:
        """Count a scene; one that arrived while the run was under way makes it longer."""
        self._n_ended += 1
        total = max(self._n_scenes, self._n_ended)
        if self._n_ended >= self._n_scenes or self._batch_pace.is_due():
            self._told.tell(self._n_ended, total)
