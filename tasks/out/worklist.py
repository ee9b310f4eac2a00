"""What came to a folder of studies: when, of whom, and what was not taken on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import ClassVar, Literal, TypeAlias

from tasks.out.ledger_file import LedgerFile

# Taken on; refused before work began; or another than the job takes.
Reception: TypeAlias = Literal["taken", "refused", "left out"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS worklist (
    scene TEXT PRIMARY KEY, study TEXT NOT NULL, patient TEXT NOT NULL, date TEXT NOT NULL,
    reception TEXT NOT NULL, reason TEXT NOT NULL, freeing INTEGER NOT NULL, received TEXT NOT NULL
);
"""


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A scene, or files that no scene can be made of.

    Attributes:
        scene: Its id; of files that were not freed of names the name of their series, or of the one file.
        study: Short name; the scene's id where nothing tells.
        patient: Pseudonym, or what a table says; empty where nothing tells.
        date: ISO; empty where nothing tells.
        reception: Whether it was taken on.
        reason: Why not, its code before its text; empty where it was.
    """

    scene: str
    study: str
    patient: str
    date: str
    reception: Reception = "taken"
    reason: str = ""


@dataclass(frozen=True)
class Received:
    """An arrival, and when it was first seen, ISO 8601 in UTC."""

    arrival: Arrival
    time: str


@dataclass(frozen=True)
class WorklistLedger(LedgerFile):
    """Arrivals of a folder, each once; what is said of one later supersedes all but the time."""

    schema: ClassVar[str] = _SCHEMA

    def receive(self, arrivals: Sequence[Arrival], now: str) -> None:
        """Enter what came."""
        with self._connection() as connection:
            connection.executemany(_ENTER, [(*astuple(arrival), 0, now) for arrival in arrivals])

    def refuse(self, arrivals: Sequence[Arrival], now: str) -> None:
        """Enter all files of the folder that cannot be freed of names; those that could not be and now can go."""
        with self._connection() as connection:
            kept = {arrival.scene for arrival in arrivals}
            known = connection.execute("SELECT scene FROM worklist WHERE freeing = 1").fetchall()
            connection.executemany("DELETE FROM worklist WHERE scene = ?", [row for row in known if row[0] not in kept])
            connection.executemany(_ENTER, [(*astuple(arrival), 1, now) for arrival in arrivals])

    def arrivals(self) -> list[Received]:
        """Return everything that came, by study and scene."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT scene, study, patient, date, reception, reason, received FROM worklist ORDER BY study, scene"
            ).fetchall()
        return [
            Received(Arrival(scene=a, study=b, patient=c, date=d, reception=e, reason=f), time)
            for a, b, c, d, e, f, time in rows
        ]


_ENTER = """
INSERT INTO worklist VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (scene) DO UPDATE SET
    study = excluded.study, patient = excluded.patient, date = excluded.date, reception = excluded.reception,
    reason = excluded.reason, freeing = excluded.freeing
"""
