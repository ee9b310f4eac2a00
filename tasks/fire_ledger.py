"""Which scenes show which site at which date, and which alerts stand: tables of their own in the ledger's file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.answers.fire.alerts import Alert, AlertState

_SCHEMA = """
CREATE TABLE IF NOT EXISTS observations (
    scene TEXT PRIMARY KEY, site TEXT NOT NULL, date TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS alerts (
    key TEXT PRIMARY KEY, active INTEGER NOT NULL, count INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS alert_messages (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, payload TEXT NOT NULL, decided TEXT NOT NULL, sent INTEGER NOT NULL
);
"""


@dataclass(frozen=True)
class Sighting:
    """A scene, the site that it shows, and when."""

    scene: str
    site: str
    date: str


@dataclass(frozen=True)
class Message:
    """An alert that is to be sent.

    Attributes:
        id: The same whenever it is sent again.
        kind: ``raised`` or ``cleared``.
        payload: Rule, site, event, value, level, unit, text.
    """

    id: str
    kind: str
    payload: dict[str, Any]


@dataclass(frozen=True)
class FireLedger:
    """Opens the file for each statement, so that it can be used from any thread.

    Attributes:
        path: Of the SQLite file of OUT.
    """

    path: Path

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=60)) as connection:
            connection.execute("PRAGMA synchronous=FULL")
            connection.executescript(_SCHEMA)
            with connection:
                yield connection

    def enter(self, sightings: Sequence[Sighting]) -> None:
        """Enter scenes; what is said of one later supersedes."""
        with self._connection() as connection:
            rows = [(one.scene, one.site, one.date) for one in sightings]
            connection.executemany("INSERT OR REPLACE INTO observations VALUES (?, ?, ?)", rows)

    def sites(self) -> list[str]:
        """Return the sites that scenes show."""
        with self._connection() as connection:
            rows = connection.execute("SELECT DISTINCT site FROM observations ORDER BY site").fetchall()
        return [row[0] for row in rows]

    def sightings(self, site: str) -> list[Sighting]:
        """Return the scenes of a site in the order of their dates."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT scene, site, date FROM observations WHERE site = ? ORDER BY date, scene", (site,)
            ).fetchall()
        return [Sighting(*row) for row in rows]

    def latest(self) -> dict[str, str]:
        """Return the date of the newest observation by site."""
        with self._connection() as connection:
            return dict(connection.execute("SELECT site, MAX(date) FROM observations GROUP BY site").fetchall())

    def alert_states(self, prefixes: Sequence[str]) -> dict[str, AlertState]:
        """Return what was last told, of keys that begin with any of the prefixes."""
        with self._connection() as connection:
            rows = connection.execute("SELECT key, active, count FROM alerts").fetchall()
        wanted = tuple(prefixes)
        return {key: AlertState(bool(active), count) for key, active, count in rows if key.startswith(wanted)}

    def decide(self, alerts: Sequence[Alert], now: str) -> None:
        """Enter what is to be told and the states that follow from it, all or nothing."""
        with self._connection() as connection:
            for alert in alerts:
                active = int(alert.kind == "raised")
                connection.execute("INSERT OR REPLACE INTO alerts VALUES (?, ?, ?)", (alert.key, active, alert.count))
                row = (str(alert.id), alert.kind, json.dumps(alert.payload), now)
                connection.execute("INSERT OR IGNORE INTO alert_messages VALUES (?, ?, ?, ?, 0)", row)

    def unsent(self) -> list[Message]:
        """Return what was decided and not yet sent, in the order of the decisions."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT id, kind, payload FROM alert_messages WHERE sent = 0 ORDER BY decided, rowid"
            ).fetchall()
        return [Message(name, kind, json.loads(payload)) for name, kind, payload in rows]

    def mark_sent(self, message: Message) -> None:
        """Remember that a message went out."""
        with self._connection() as connection:
            connection.execute("UPDATE alert_messages SET sent = 1 WHERE id = ?", (message.id,))
