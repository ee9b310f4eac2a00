"""Keeps the figures of a folder fresh for whoever watches it, while a run holds it and at its end."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from flows.batch import steps
from flows.cluster.gpus import gpus
from models.errors import SwatheError
from tasks.files.durable import replace_file
from tasks.nights.figures import metrics_text
from tasks.nights.status import Backlog, status_of, write_backlog
from tasks.nights.worklist import write_worklist
from tasks.out.folder import OutFolder

logger = logging.getLogger(__name__)

FILE = "metrics.prom"
_INTERVAL_S = 10.0


@dataclass
class Figures:
    """Of one run.

    Attributes:
        out: The folder, held by the caller.
    """

    out: OutFolder
    _told: Backlog | None = field(default=None, init=False)
    _written: float = field(default_factory=time.monotonic, init=False)

    def tell(self, waiting: int, under_way: int) -> None:
        """Tell how many scenes there are to do; write all figures when some time has passed."""
        backlog = Backlog(waiting, under_way)
        if backlog == self._told:
            return
        self._told = backlog
        try:
            write_backlog(self.out, backlog)
        except (OSError, SwatheError) as error:
            logger.warning("what is to do could not be told: %s", error)
        if time.monotonic() - self._written >= _INTERVAL_S:
            self._written = time.monotonic()
            write_figures(self.out)


def write_figures(out: OutFolder) -> None:
    """Put ``.swathe/metrics.prom`` and the worklist in place; that they cannot be written costs nothing else."""
    try:
        text = metrics_text([status_of(out.root, steps.now())], gpus())
        replace_file(out.scratch / FILE, text.encode())
        write_worklist(out)
    except (OSError, SwatheError) as error:
        logger.warning("figures could not be written: %s", error)
