"""The nights of an OUT folder: a table of its own in the ledger's file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tasks.nights.night import Night
from tasks.room import writing

_SCHEMA = """
CREATE TABLE IF NOT EXISTS nights (
    date TEXT PRIMARY KEY, job TEXT NOT NULL, finished TEXT NOT NULL, facts TEXT NOT NULL
);
"""


@dataclass(frozen=True)
class NightLedger:
    """Opens the file for each statement, so that it can be used from any thread.

    Attributes:
        path: Of the SQLite file of OUT.
    """

    path: Path

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with writing("the ledger", self.path.parent), closing(sqlite3.connect(self.path, timeout=60)) as connection:
            connection.execute("PRAGMA synchronous=FULL")
            connection.executescript(_SCHEMA)
            with connection:
                yield connection

    def night(self, date: str) -> Night | None:
        """Return what was done in a night; None where it had no run that ended."""
        with self._connection() as connection:
            row = connection.execute("SELECT facts FROM nights WHERE date = ?", (date,)).fetchone()
        return None if row is None else Night.from_facts(json.loads(row[0]))

    def last(self, before: str) -> str | None:
        """Return the newest night before a date."""
        with self._connection() as connection:
            row = connection.execute("SELECT MAX(date) FROM nights WHERE date < ?", (before,)).fetchone()
        return None if row is None else row[0]

    def newest(self) -> tuple[Night, str] | None:
        """Return the newest night, and when its last run ended."""
        with self._connection() as connection:
            row = connection.execute("SELECT facts, finished FROM nights ORDER BY date DESC LIMIT 1").fetchone()
        return None if row is None else (Night.from_facts(json.loads(row[0])), row[1])

    def count(self) -> int:
        """Return how many nights there were."""
        with self._connection() as connection:
            return int(connection.execute("SELECT COUNT(*) FROM nights").fetchone()[0])

    def enter(self, night: Night, now: str) -> None:
        """Enter a night, or supersede what was said of it."""
        with self._connection() as connection:
            row = (night.date, night.job, now, json.dumps(night.facts()))
            connection.execute("INSERT OR REPLACE INTO nights VALUES (?, ?, ?, ?)", row)
