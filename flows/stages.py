"""The stages of one scene: how long each took, and which one a log line is from."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from flows.display.logs import about


@dataclass
class Stages:
    """Times of the stages of one scene; two of them may run side by side.

    Attributes:
        seconds: By stage, of those that have ended.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    _begun: float = field(default_factory=time.monotonic, init=False)

    @property
    def total_s(self) -> float:
        """Seconds since the scene began."""
        return time.monotonic() - self._begun

    @contextmanager
    def at(self, stage: str) -> Iterator[None]:
        """Time a stage, and name it in log lines."""
        begin = time.monotonic()
        with about("stage", stage):
            yield
        self.seconds[stage] = round(time.monotonic() - begin, 3)
