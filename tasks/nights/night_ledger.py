"""The nights of an OUT folder: a table of its own in the ledger's file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

from tasks.ledger_file import LedgerFile
from tasks.nights.night import Night

_SCHEMA = """
CREATE TABLE IF NOT EXISTS nights (
    date TEXT PRIMARY KEY, job TEXT NOT NULL, finished TEXT NOT NULL, facts TEXT NOT NULL
);
"""


@dataclass(frozen=True)
class NightLedger(LedgerFile):
    """What was done in each night."""

    schema: ClassVar[str] = _SCHEMA

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

    def newest(self, until: str = "9999-12-31") -> tuple[Night, str] | None:
        """Return the newest night up to a date, and when its last run ended."""
        with self._connection() as connection:
            row = connection.execute(
                "SELECT facts, finished FROM nights WHERE date <= ? ORDER BY date DESC LIMIT 1", (until,)
            ).fetchone()
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
