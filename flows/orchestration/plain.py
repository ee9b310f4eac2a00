"""A run without a server: this process carries out the steps, and the terminal, the log and OUT tell of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from flows.orchestration.orchestrator import FitReport, RunEvent, Step, may_pass

if TYPE_CHECKING:
    from tasks.nights.night import Night
    from tasks.out.folder import OutFolder
    from tasks.out.outcome import SceneOutcome
    from tasks.reports.trail import Trail

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Silent:
    """A count that nobody looks at: bars and log lines have their own."""

    label: str
    is_shown: bool = False

    def tell(self, done: int, total: int) -> None:
        """Do nothing."""


class PlainOrchestrator:
    """Calls steps in this process, with the same retries as Prefect; pages there are none."""

    def run(self, step: Step[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the step's function, again after each of its delays while it fails for a reason that may pass."""
        for delay_s in step.retry_delays_s:
            try:
                return step.function(*args, **kwargs)
            except Exception as error:
                if not may_pass(error):
                    raise
                logger.warning("%s: %s; tried again in %g s", step.name, error, delay_s)
            time.sleep(delay_s)
        return step.function(*args, **kwargs)

    def counter(self, label: str) -> Silent:
        """Return a count that nobody looks at."""
        return Silent(label)

    def attended(self, out: OutFolder) -> AbstractContextManager[None]:
        """Do nothing: only a server takes a dead process for one that works."""
        return nullcontext()

    def show_scene(self, job: str, outcome: SceneOutcome, out: Path) -> None:
        """Do nothing: the product has its report."""

    def show_batch(self, job: str, outcomes: Sequence[SceneOutcome], out: Path, trails: Sequence[Trail] = ()) -> None:
        """Do nothing: OUT has its index."""

    def show_night(self, night: Night, out: Path) -> None:
        """Do nothing: OUT has the night's page."""

    def show_fits(self, report: FitReport) -> None:
        """Do nothing: OUT has the logs."""

    def send(self, event: RunEvent) -> None:
        """Write the event to the log, which is all there is to send it to."""
        logger.info("%s: %s", event.name, event.title)
