"""What was done, with what, to which bytes: one SQLite file per OUT."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from models.parsed import from_json
from tasks.errors import StoreError
from tasks.files.fingerprint import Fingerprint
from tasks.out.ledger_file import LedgerFile

Status = Literal["done", "failed", "skipped"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, job TEXT NOT NULL, started TEXT NOT NULL, finished TEXT, outcome TEXT
);
CREATE TABLE IF NOT EXISTS products (
    scene TEXT PRIMARY KEY, request TEXT NOT NULL, product TEXT, status TEXT NOT NULL, error TEXT,
    run TEXT NOT NULL, finished TEXT NOT NULL, headline TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS inputs (
    name TEXT PRIMARY KEY, state TEXT NOT NULL, sources TEXT NOT NULL, sha256 TEXT NOT NULL,
    content_hashed INTEGER NOT NULL
);
-- Of 0.1.0, which knew files by size and time alone; what it holds is hashed once more.
DROP TABLE IF EXISTS fingerprints;
"""


@dataclass(frozen=True, kw_only=True)
class ProductRow:
    """The newest word on a scene.

    Attributes:
        scene: Its id.
        request: Hash of input, model and job: the same request is not worked on twice.
        product: Folder name of the product under ``.products/<scene>``; None where there is none.
        status: ``done`` or ``failed``.
        error: What went wrong.
        headline: Numbers for the batch table.
    """

    scene: str
    request: str
    product: str | None
    status: Status
    error: str | None
    headline: dict[str, Any]


@dataclass(frozen=True)
class InputRow:
    """An input that was hashed.

    Attributes:
        name: Hash of how it is named and read.
        state: Of all its files when it was hashed, as ``tasks.intake.input_state`` tells it.
        sources: Files that it depends on and that nobody named.
        fingerprint: What was found.
    """

    name: str
    state: str
    sources: tuple[str, ...]
    fingerprint: Fingerprint


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """A run of an OUT folder.

    Attributes:
        id: Of the run.
        job: Its name.
        started: ISO 8601, in UTC.
        finished: The same; None while it runs, or where its process died and no other run came after it.
        outcome: ``done``, ``failed scenes``, ``interrupted by SIGTERM`` or another signal, or ``interrupted``.
    """

    id: str
    job: str
    started: str
    finished: str | None
    outcome: str | None


@dataclass(frozen=True)
class Ledger(LedgerFile):
    """Runs, the newest word on every scene, and what was hashed."""

    schema: ClassVar[str] = _SCHEMA

    def begin_run(self, run: str, job: str, now: str) -> None:
        """Enter a run; runs that an earlier process left open are closed as interrupted.

        Raises:
            StoreError: When the folder belongs to another job, that of its first run.
        """
        with self._connection() as connection:
            self._require_job(connection, job)
            connection.execute(
                "UPDATE runs SET finished = ?, outcome = 'interrupted' WHERE finished IS NULL AND id != ?",
                (now, run),
            )
            connection.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, NULL, NULL)", (run, job, now))

    def require_job(self, job: str) -> None:
        """Refuse a folder of another job, as a run of it will.

        Raises:
            StoreError: When the folder belongs to another job, that of its first run.
        """
        with self._connection() as connection:
            self._require_job(connection, job)

    def _require_job(self, connection: sqlite3.Connection, job: str) -> None:
        owner = connection.execute("SELECT job FROM runs ORDER BY rowid LIMIT 1").fetchone()
        if owner is not None and owner[0] != job:
            raise StoreError(
                f"{self.path.parent}: belongs to the job '{owner[0]}', and '{job}' would mix its products with "
                "those. Name another --out"
            )

    def end_run(self, run: str, outcome: str, now: str) -> None:
        """Close a run."""
        with self._connection() as connection:
            connection.execute("UPDATE runs SET finished = ?, outcome = ? WHERE id = ?", (now, outcome, run))

    def newest_run(self) -> RunRow | None:
        """Return the run that began last."""
        with self._connection() as connection:
            row = connection.execute(
                "SELECT id, job, started, finished, outcome FROM runs ORDER BY rowid DESC LIMIT 1"
            ).fetchone()
        return None if row is None else RunRow(id=row[0], job=row[1], started=row[2], finished=row[3], outcome=row[4])

    def products(self) -> list[ProductRow]:
        """Return the newest word on every scene, by name."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT scene, request, product, status, error, headline FROM products ORDER BY scene"
            ).fetchall()
        with self._understood():
            return [_product_row(row) for row in rows]

    def product(self, scene: str) -> ProductRow | None:
        """Return the newest word on a scene."""
        with self._connection() as connection:
            row = connection.execute(
                "SELECT scene, request, product, status, error, headline FROM products WHERE scene = ?",
                (scene,),
            ).fetchone()
        with self._understood():
            return None if row is None else _product_row(row)

    def record(self, row: ProductRow, run: str, now: str) -> None:
        """Supersede the word on a scene."""
        with self._connection() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO products VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    row.scene,
                    row.request,
                    row.product,
                    row.status,
                    row.error,
                    run,
                    now,
                    json.dumps(row.headline),
                ),
            )

    def input(self, name: str) -> InputRow | None:
        """Return what was hashed earlier under a name."""
        with self._connection() as connection:
            row = connection.execute(
                "SELECT state, sources, sha256, content_hashed FROM inputs WHERE name = ?", (name,)
            ).fetchone()
        if row is None:
            return None
        return InputRow(name, row[0], tuple(json.loads(row[1])), Fingerprint(row[2], bool(row[3])))

    def remember_input(self, row: InputRow) -> None:
        """Keep a hash beside the state of what was hashed."""
        with self._connection() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO inputs VALUES (?, ?, ?, ?, ?)",
                (
                    row.name,
                    row.state,
                    json.dumps(row.sources),
                    row.fingerprint.sha256,
                    int(row.fingerprint.content_hashed),
                ),
            )


def _product_row(row: tuple[str, str, str | None, Status, str | None, str]) -> ProductRow:
    name, request, product, status, error, headline = row
    numbers = from_json(headline)
    if not isinstance(numbers, dict):
        raise TypeError(f"the headline of {name} is no object of JSON")
    return ProductRow(scene=name, request=request, product=product, status=status, error=error, headline=numbers)
