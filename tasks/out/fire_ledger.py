"""Which alerts on fires stand and which were sent: tables of their own in the ledger's file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from models.parsed import from_json
from tasks.out.sightings import SightingLedger

if TYPE_CHECKING:
    from tasks.answers.fire.alerts import Alert, AlertState

_SCHEMA = """
CREATE TABLE IF NOT EXISTS alerts (
    key TEXT PRIMARY KEY, active INTEGER NOT NULL, count INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS alert_messages (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, payload TEXT NOT NULL, decided TEXT NOT NULL, sent INTEGER NOT NULL
);
"""


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
class FireLedger(SightingLedger):
    """The scenes of sites, and what was told of them."""

    schema: ClassVar[str] = SightingLedger.schema + _SCHEMA

    def alert_states(self, prefixes: Sequence[str]) -> dict[str, AlertState]:
        """Return what was last told, of keys that begin with any of the prefixes."""
        with self._connection() as connection:
            rows = connection.execute("SELECT key, active, count FROM alerts").fetchall()
        wanted = tuple(prefixes)
        # Here, because every command that tells the state of a folder imports this module, and few decide on alerts.
        from tasks.answers.fire.alerts import AlertState

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
        with self._understood():
            return [Message(name, kind, from_json(payload)) for name, kind, payload in rows]

    def last_told(self) -> int:
        """Return the number of the last decision; 0 before the first."""
        with self._connection() as connection:
            return int(connection.execute("SELECT coalesce(max(rowid), 0) FROM alert_messages").fetchone()[0])

    def told_after(self, number: int) -> list[str]:
        """Return the texts of the decisions after one; an alert that is over says so."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT kind, payload FROM alert_messages WHERE rowid > ? ORDER BY rowid", (number,)
            ).fetchall()
        with self._understood():
            texts = [(kind, str(from_json(payload)["text"])) for kind, payload in rows]
        return [text if kind == "raised" else f"over: {text}" for kind, text in texts]

    def standing(self) -> list[tuple[str, dict[str, Any]]]:
        """Return when it was decided and what was told of every alert that stands, the newest first."""
        with self._connection() as connection:
            active = {row[0] for row in connection.execute("SELECT key FROM alerts WHERE active = 1")}
            rows = connection.execute(
                "SELECT decided, payload FROM alert_messages WHERE kind = 'raised' ORDER BY decided DESC, rowid DESC"
            ).fetchall()
        told: dict[str, tuple[str, dict[str, Any]]] = {}
        with self._understood():
            for decided, payload in rows:
                known = from_json(payload)
                told.setdefault(known["key"], (decided, {**known, "text": str(known["text"])}))
        return [one for key, one in told.items() if key in active]

    def mark_sent(self, message: Message) -> None:
        """Remember that a message went out."""
        with self._connection() as connection:
            connection.execute("UPDATE alert_messages SET sent = 1 WHERE id = ?", (message.id,))
