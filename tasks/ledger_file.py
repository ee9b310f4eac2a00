"""The SQLite file of an OUT folder: each ledger keeps tables of its own in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tasks.room import writing


@dataclass(frozen=True)
class LedgerFile:
    """Opens the file for each statement, so that it can be used from any thread and travels to none.

    Attributes:
        path: Of the SQLite file of OUT.
        schema: Makes the tables that are not there yet.
    """

    path: Path
    schema: ClassVar[str]

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Open it for what belongs together: all of it is on the disk in the end, or nothing."""
        with writing("the ledger", self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=60)) as connection:
                # FULL leaves the folder unsynced after the journal is gone: a power cut could bring it back and undo.
                connection.execute("PRAGMA synchronous=EXTRA")
                connection.executescript(self.schema)
                with connection:
                    yield connection
