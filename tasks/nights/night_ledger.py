"""The nights of an OUT folder, and up to where their pages tell: tables of their own in the ledger's file."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date as day
from datetime import datetime
from typing import ClassVar

from models.parsed import from_json
from tasks.nights.night import Night
from tasks.out.ledger import Ledger

_SCHEMA = """
CREATE TABLE IF NOT EXISTS nights (
    date TEXT PRIMARY KEY, job TEXT NOT NULL, finished TEXT NOT NULL, facts TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS told (
    one INTEGER PRIMARY KEY CHECK (one = 1), run INTEGER NOT NULL, alert INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS missed_nights (
    date TEXT PRIMARY KEY, id TEXT NOT NULL, sent INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS first_night (
    one INTEGER PRIMARY KEY CHECK (one = 1), began TEXT NOT NULL, overdue_hours REAL NOT NULL
);
"""


@dataclass(frozen=True)
class Told:
    """Up to where the pages of nights tell; what came after it is on none yet.

    Attributes:
        run: Number of a run.
        alert: Number of a decision on alerts.
    """

    run: int
    alert: int


@dataclass(frozen=True)
class NightLedger(Ledger):
    """What was done in each night."""

    schema: ClassVar[str] = Ledger.schema + _SCHEMA

    def night(self, date: str) -> Night | None:
        """Return what was done in a night; None where it had no run that ended."""
        with self._connection() as connection:
            row = connection.execute("SELECT facts FROM nights WHERE date = ?", (date,)).fetchone()
        with self._understood():
            return None if row is None else Night.from_facts(from_json(row[0]))

    def begin(self, now: str, overdue_hours: float) -> None:
        """Remember when a night first began in this folder; later ones change nothing.

        Args:
            now: ISO 8601, in UTC.
            overdue_hours: After how many hours it should have ended.
        """
        with self._connection() as connection:
            connection.execute("INSERT OR IGNORE INTO first_night VALUES (1, ?, ?)", (now, overdue_hours))

    def awaited(self) -> tuple[str, float] | None:
        """Return when the first night began, and in how many hours it should have ended; None where one has ended."""
        with self._connection() as connection:
            row = connection.execute(
                "SELECT began, overdue_hours FROM first_night WHERE NOT EXISTS (SELECT 1 FROM nights)"
            ).fetchone()
        with self._understood():
            return None if row is None else (_time(row[0]), float(row[1]))

    def last(self, before: str) -> str | None:
        """Return the newest night before a date."""
        with self._connection() as connection:
            row = connection.execute("SELECT MAX(date) FROM nights WHERE date < ?", (before,)).fetchone()
        with self._understood():
            return None if row[0] is None else _day(row[0])

    def newest(self, until: str = "9999-12-31") -> tuple[Night, str] | None:
        """Return the newest night up to a date, and when its last run ended."""
        with self._connection() as connection:
            row = connection.execute(
                "SELECT facts, finished FROM nights WHERE date <= ? ORDER BY date DESC LIMIT 1", (until,)
            ).fetchone()
        with self._understood():
            return None if row is None else (Night.from_facts(from_json(row[0])), _time(row[1]))

    def count(self) -> int:
        """Return how many nights there were."""
        with self._connection() as connection:
            return int(connection.execute("SELECT COUNT(*) FROM nights").fetchone()[0])

    def miss(self, dates: Iterable[str]) -> None:
        """Enter nights that had no run; those that are known stay as they are."""
        with self._connection() as connection:
            rows = [(date, str(uuid.uuid4())) for date in dates]
            connection.executemany("INSERT OR IGNORE INTO missed_nights VALUES (?, ?, 0)", rows)

    def unsent(self) -> list[tuple[str, str]]:
        """Return date and id of the missed nights that nobody was told of, by date."""
        with self._connection() as connection:
            return connection.execute("SELECT date, id FROM missed_nights WHERE sent = 0 ORDER BY date").fetchall()

    def mark_sent(self, date: str) -> None:
        """Remember that somebody was told of a missed night."""
        with self._connection() as connection:
            connection.execute("UPDATE missed_nights SET sent = 1 WHERE date = ?", (date,))

    def last_run(self) -> int:
        """Return the number of the run that began last; 0 before the first."""
        with self._connection() as connection:
            return int(connection.execute("SELECT coalesce(max(rowid), 0) FROM runs").fetchone()[0])

    def made_after(self, run: int) -> frozenset[str]:
        """Return the scenes whose product was made by runs after one, however those ended."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT scene FROM products JOIN runs ON runs.id = products.run "
                "WHERE runs.rowid > ? AND products.status = 'done'",
                (run,),
            ).fetchall()
        return frozenset(row[0] for row in rows)

    def told(self, now: Told) -> Told:
        """Return up to where pages tell; from here on where no night has begun in this folder before."""
        with self._connection() as connection:
            connection.execute("INSERT OR IGNORE INTO told VALUES (1, ?, ?)", (now.run, now.alert))
            return Told(*connection.execute("SELECT run, alert FROM told").fetchone())

    def enter(self, night: Night, now: str, told: Told | None = None) -> None:
        """Enter a night, or supersede what was said of it.

        Args:
            night: Whose page is written.
            now: ISO 8601, in UTC.
            told: Up to where that page tells; as far as before where left out.
        """
        with self._connection() as connection:
            row = (night.date, night.job, now, json.dumps(night.facts()))
            connection.execute("INSERT OR REPLACE INTO nights VALUES (?, ?, ?, ?)", row)
            if told is not None:
                connection.execute("INSERT OR REPLACE INTO told VALUES (1, ?, ?)", (told.run, told.alert))


def _day(text: str) -> str:
    """Return a date that ``date.fromisoformat`` reads.

    Raises:
        ValueError: When it does not.
        TypeError: When it is no text at all.
    """
    return day.fromisoformat(text).isoformat()


def _time(text: str) -> str:
    """Return a time that ``datetime.fromisoformat`` reads.

    Raises:
        ValueError: When it does not.
        TypeError: When it is no text at all.
    """
    datetime.fromisoformat(text)
    return text
