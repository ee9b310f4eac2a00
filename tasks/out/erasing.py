"""What the ledger of a folder knows of some scenes, erased: rows are deleted and written over."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

from tasks.out.ledger import Ledger
from tasks.out.ledger_file import LedgerFile
from tasks.out.sightings import SightingLedger
from tasks.out.worklist import WorklistLedger

_BY_SCENE = ("products", "observations", "worklist")


@dataclass(frozen=True)
class Eraser(LedgerFile):
    """Knows every table that names scenes."""

    schema: ClassVar[str] = Ledger.schema + SightingLedger.schema + WorklistLedger.schema

    def scenes_of(self, patient: str) -> list[str]:
        """Return the scenes of a patient, in the worklist or followed."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT scene FROM worklist WHERE patient = ? UNION SELECT scene FROM observations WHERE site = ?",
                (patient, patient),
            ).fetchall()
        return sorted(row[0] for row in rows)

    def erase(self, scenes: Collection[str]) -> None:
        """Delete all rows of scenes."""
        self._delete(_BY_SCENE, "scene", scenes)

    def erase_inputs(self, hashes: Collection[str]) -> None:
        """Delete what was written down of inputs, by the hash of their content."""
        self._delete(("inputs",), "sha256", hashes)

    def _delete(self, tables: Sequence[str], column: str, values: Collection[str]) -> None:
        with self._connection() as connection:
            connection.execute("PRAGMA secure_delete = ON")
            for table in tables:
                connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(value,) for value in values])
            connection.commit()
            # Pages that earlier rows left behind hold what was in them.
            connection.execute("VACUUM")
