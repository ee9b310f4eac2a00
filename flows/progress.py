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
class SceneProgress:
    """How far one scene is, told to whoever looks.

    Attributes:
        label: What is counted, for people.
        total: Blocks in all.
        done: Blocks done.
    """

    label: str
    total: int
    done: int
    bars: Progress
    bar: TaskID
    is_terminal: bool
    artifact: UUID | None = None
    _told: float = field(default=0.0, init=False)
    _said: float = field(default=0.0, init=False)

    def advance(self) -> None:
        """Count one more block."""
        self.done += 1
        now = time.monotonic()
        self.bars.update(self.bar, completed=self.done)
        if not self.is_terminal and (now - self._said >= _LINE_INTERVAL_S or self.done == self.total):
            self._said = now
            logger.info("%s: %d of %d blocks", self.label, self.done, self.total)
        if now - self._told >= _ARTIFACT_INTERVAL_S or self.done == self.total:
            self._told = now
            self._tell_prefect()

    def _tell_prefect(self) -> None:
        percent = 100.0 * self.done / max(1, self.total)
        try:
            if self.artifact is None:
                self.artifact = cast("UUID", create_progress_artifact(progress=percent, description=self.label))
            else:
                update_progress_artifact(self.artifact, progress=percent)
        except (PrefectException, httpx.HTTPError) as error:
            # A server that is away must not cost the scene.
            logger.debug("%s: progress could not be told to Prefect: %s", self.label, error)


class BatchProgress:
    """The bars of all scenes of a run."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = Lock()
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
        return SceneProgress(label, total, done, self._bars, bar, self._console.is_terminal)
