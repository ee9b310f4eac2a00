"""Which processes run, and which only seem to: runs of an OUT folder with the process that does them."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import psutil

from tasks.out.ledger_file import LedgerFile

_SCHEMA = """
CREATE TABLE IF NOT EXISTS processes (
    flow_run TEXT PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, created NOT NULL
);
"""
_PROC = Path("/proc")
# Behind the name of the program, which may hold anything; field 22 of all, as proc(5) counts.
_STARTTIME = 19

# The boot of the machine and the ticks since then: no step of the clock changes them. Seconds where the kernel does not
# tell, and in what earlier versions wrote down.
Created = str | float


def created(pid: int) -> Created:
    """Return when a process of this machine began, which tells it from a later one with its number.

    Raises:
        psutil.NoSuchProcess: When there is none.
    """
    try:
        return _ticks(pid)
    except OSError:
        return psutil.Process(pid).create_time()


def is_running(pid: int, since: Created) -> bool:
    """Tell whether a process of this machine runs still.

    Args:
        pid: Its number.
        since: When it began, as it was written down then.
    """
    try:
        process = psutil.Process(pid)
        now = created(pid) if isinstance(since, str) else process.create_time()
        return now == since and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _ticks(pid: int) -> str:
    boot = (_PROC / "sys" / "kernel" / "random" / "boot_id").read_text().strip()
    fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    return f"{boot} {fields[_STARTTIME]}"


@dataclass(frozen=True)
class RunProcess:
    """A process that does a run.

    Attributes:
        flow_run: Id of the run on the Prefect server.
        host: Name of the machine.
        pid: Of the process.
        created: When it began, which tells it from a later process with its number.
    """

    flow_run: str
    host: str
    pid: int
    created: Created

    @classmethod
    def of_this(cls, flow_run: str) -> RunProcess:
        """Return this process as the one that does a run."""
        return cls(flow_run, socket.gethostname(), os.getpid(), created(os.getpid()))

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
