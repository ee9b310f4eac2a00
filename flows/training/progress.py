"""How far a fit is, and how long it will still take: a bar on a terminal, lines in a log, a count on a page."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from flows.display.progress import Pace
from flows.orchestration.current import orchestrator
from flows.orchestration.orchestrator import Counter

logger = logging.getLogger(__name__)

_LINE_INTERVAL_S = 10.0


class FitProgress:
    """Told of one fit as ``models.training`` tells of it.

    Args:
        label: What is fitted, for people.
        bars: Of the terminal.
        told: Elsewhere, such as on a page of Prefect's.
    """

    def __init__(self, label: str, bars: Progress, told: Counter) -> None:
        self._label, self._bars, self._told = label, bars, told
        self._lines, self._counts = Pace(_LINE_INTERVAL_S), Pace()
        self._bar: TaskID | None = None
        self._begun: tuple[int, float] | None = None

    def __call__(self, step: int, steps: int, loss: float) -> None:
        """Show how far the fit is."""
        if self._bar is None:
            self._bar = self._bars.add_task(self._label, total=steps)
        self._bars.update(self._bar, completed=step, description=f"{self._label}: loss {loss:.4f}")
        if step == steps or self._counts.is_due():
            self._told.tell(step, steps)
        if step == steps or (self._bars.disable and self._lines.is_due()):
            logger.info("%s: step %d of %d, loss %.4f%s", self._label, step, steps, loss, self._left(step, steps))
        if self._begun is None:
            # The steps before were of an earlier attempt, or took what is taken once.
            self._begun = step, time.monotonic()

    def _left(self, step: int, steps: int) -> str:
        if self._begun is None or step in (self._begun[0], steps):
            return ""
        first, since = self._begun
        left_s = (time.monotonic() - since) / (step - first) * (steps - step)
        return f", about {left_s / 60:.0f} min left" if left_s >= 60 else f", about {left_s:.0f} s left"


@contextmanager
def shown(label: str) -> Iterator[FitProgress]:
    """Show a fit for as long as the context lasts."""
    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with bars:
        yield FitProgress(label, bars, orchestrator().counter(f"{label}: steps"))
