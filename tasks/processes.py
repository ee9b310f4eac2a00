"""Which processes run, and which only seem to: runs of an OUT folder with the process that does them."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import ClassVar

import psutil

from tasks.ledger_file import LedgerFile

_SCHEMA = """
CREATE TABLE IF NOT EXISTS processes (
    flow_run TEXT PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, created REAL NOT NULL
);
"""


def is_running(pid: int, created: float) -> bool:
    """Tell whether a process of this machine runs still; a later one with its number began later."""
    try:
        process = psutil.Process(pid)
        return process.create_time() == created and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@dataclass(frozen=True)
class RunProcess:
    """A process that does a run.

    Attributes:
        flow_run: Id of the run on the Prefect server.
        host: Name of the machine.
        pid: Of the process.
        created: When it began, in seconds; a later process with its number began later.
    """

    flow_run: str
    host: str
    pid: int
    created: float

    @classmethod
    def of_this(cls, flow_run: str) -> RunProcess:
        """Return this process as the one that does a run."""
        return cls(flow_run, socket.gethostname(), os.getpid(), psutil.Process().create_time())

    @property
    def runs_here(self) -> bool:
        """Whether it is a process of this machine that runs still."""
        return self.host == socket.gethostname() and is_running(self.pid, self.created)


@dataclass(frozen=True)
class ProcessLedger(LedgerFile):
    """Runs that have not said that they ended, each with its process."""

    schema: ClassVar[str] = _SCHEMA

    def enter(self, process: RunProcess) -> None:
        """Keep that a process does a run."""
        with self._connection() as connection:
            row = (process.flow_run, process.host, process.pid, process.created)
            connection.execute("INSERT OR REPLACE INTO processes VALUES (?, ?, ?, ?)", row)

    def leave(self, flow_run: str) -> None:
        """Forget a run: it ended, whatever way, and said so itself."""
        with self._connection() as connection:
            connection.execute("DELETE FROM processes WHERE flow_run = ?", (flow_run,))

    def entered(self) -> list[RunProcess]:
        """Return the runs that have not said that they ended."""
        with self._connection() as connection:
            rows = connection.execute("SELECT flow_run, host, pid, created FROM processes ORDER BY rowid").fetchall()
        return [RunProcess(*row) for row in rows]
