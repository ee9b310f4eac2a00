"""Which scenes show which site at which date: fires and patients are followed by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tasks.inputs.input import Input
from tasks.inputs.naming import site_of
from tasks.jobs.job import Job
from tasks.out.ledger_file import LedgerFile

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
    if job.analysis is None or not job.analysis.over_dates or item.date is None:
        return None
    return Sighting(item.id, item.site or site_of(item.id, job.source.dates), item.date)


def sightings_of(job: Job, items: Sequence[Input]) -> list[Sighting]:
    """Return what each of several scenes shows and when, without those that are not followed."""
    return [sighting for item in items if (sighting := sighting_of(job, item)) is not None]


@dataclass(frozen=True)
class SightingLedger(LedgerFile):
    """Which scenes show which site, and when."""

    schema: ClassVar[str] = _OBSERVATIONS

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
