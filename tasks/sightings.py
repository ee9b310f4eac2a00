"""Which scenes show which site at which date: fires and patients are followed by them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tasks.answers.fire.settings import FireAnalysis
from tasks.answers.tumour.settings import TumourAnalysis
from tasks.job import Job
from tasks.room import writing
from tasks.scenes.input import Input
from tasks.scenes.naming import site_of

_OBSERVATIONS = """
CREATE TABLE IF NOT EXISTS observations (
    scene TEXT PRIMARY KEY, site TEXT NOT NULL, date TEXT NOT NULL
);
"""


@dataclass(frozen=True)
class Sighting:
    """A scene, the site or patient that it shows, and when."""

    scene: str
    site: str
    date: str


def sighting_of(job: Job, item: Input) -> Sighting | None:
    """Return what a scene shows and when; None where it is not followed: another kind of job, or no date."""
    if not isinstance(job.analysis, FireAnalysis | TumourAnalysis) or item.date is None:
        return None
    return Sighting(item.id, item.site or site_of(item.id, job.source.dates), item.date)


@dataclass(frozen=True)
class SightingLedger:
    """A table of its own in the ledger's file; opens it for each statement, so that any thread can use it.

    Attributes:
        path: Of the SQLite file of OUT.
    """

    path: Path
    schema: ClassVar[str] = _OBSERVATIONS

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with writing("the ledger", self.path.parent), closing(sqlite3.connect(self.path, timeout=60)) as connection:
            connection.execute("PRAGMA synchronous=FULL")
            connection.executescript(self.schema)
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
