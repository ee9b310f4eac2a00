"""Which processes run, and which only seem to: runs of an OUT folder with the process that does them."""

from __future__ import annotations

import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tasks.room import writing

_SCHEMA = """
CREATE TABLE IF NOT EXISTS processes (
    flow_run TEXT PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, created REAL NOT NULL
);
"""


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
        if self.host != socket.gethostname():
            return False
        try:
            process = psutil.Process(self.pid)
            return process.create_time() == self.created and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


@dataclass(frozen=True)
class ProcessLedger:
    """Opens the file for each statement, so that it can be used from any thread.

    Attributes:
        path: Of the SQLite file of OUT.
    """

    path: Path

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with writing("the ledger", self.path.parent), closing(sqlite3.connect(self.path, timeout=60)) as connection:
            connection.execute("PRAGMA synchronous=FULL")
            connection.executescript(_SCHEMA)
            with connection:
                yield connection

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
