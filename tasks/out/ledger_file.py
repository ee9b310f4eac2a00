"""The SQLite file of an OUT folder: each ledger keeps tables of its own in it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tasks.errors import StoreError
from tasks.files.room import writing


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
        """Open it for what belongs together: all of it is on the disk in the end, or nothing.

        Whoever may only read it gets a copy, which cannot be written to.

        Raises:
            StoreError: When it is damaged, or may not be written to.
        """
        try:
            with writing("the ledger", self.path.parent):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with closing(self._copied() if self._is_closed() else self._opened()) as connection, connection:
                    yield connection
        except (sqlite3.ProgrammingError, sqlite3.InterfaceError):
            # Ours, and no fault of the file.
            raise
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Blame the file for rows that say something else than what was entered."""
        try:
            yield
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> StoreError:
        if "locked" in str(error):
            return StoreError(f"{self.path}: another program has held the ledger for a minute. End it, and run again")
        return StoreError(
            f"{self.path}: the ledger is damaged, or is none ({type(error).__name__}: {error}). Put a backup in its "
            "place, or move it away with what SQLite keeps beside it: every scene is then done again"
        )

    def _is_closed(self) -> bool:
        return self.path.is_file() and not all(os.access(path, os.W_OK) for path in (self.path, self.path.parent))

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=60)
        # FULL leaves the folder unsynced after the journal is gone: a power cut could bring it back and undo.
        connection.execute("PRAGMA synchronous=EXTRA")
        connection.executescript(self.schema)
        return connection

    def _copied(self) -> sqlite3.Connection:
        """Return a copy with all tables: those that no run has made yet cannot be made in the file."""
        copy = sqlite3.connect(":memory:")
        with closing(sqlite3.connect(self.path, timeout=60)) as connection:
            connection.backup(copy)
        copy.executescript(self.schema)
        copy.execute("PRAGMA query_only=ON")
        return copy
