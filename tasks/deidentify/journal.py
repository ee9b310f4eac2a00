"""Which files were done, so that a second run does not do them again: keyed names, no paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from tasks.out.ledger_file import LedgerFile

Status = Literal["done", "same", "refused", "left out"]

_COLUMNS = "source, stamp, settings, status, code, message, patient, study, series, file, sha256, counts"
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS files ({_COLUMNS.replace("source", "source TEXT PRIMARY KEY", 1)});
CREATE INDEX IF NOT EXISTS files_by_name ON files (file);
CREATE TABLE IF NOT EXISTS looks (series TEXT, samples TEXT, message TEXT, PRIMARY KEY (series, samples));
"""


@dataclass(frozen=True, kw_only=True)
class FileVerdict:
    """What became of one file; nothing in it names a patient.

    Attributes:
        source: What the file is called here: a keyed hash of its path, see ``swathe deidentify --find``.
        stamp: Changes when the file does.
        settings: Digest of options and key.
        status: ``done``; ``same`` as one that is done; ``refused``; ``left out``, which is no image or report.
        code: Of a refusal, one word.
        message: Of a refusal.
        patient: Pseudonym.
        study: Short name.
        series: Short name.
        file: Relative to OUT.
        sha256: Of that file.
        counts: Elements by what became of them, as text.
    """

    source: str
    stamp: str
    settings: str
    status: Status
    code: str = ""
    message: str = ""
    patient: str = ""
    study: str = ""
    series: str = ""
    file: str = ""
    sha256: str = ""
    counts: str = ""


@dataclass(frozen=True)
class Journal(LedgerFile):
    """The newest verdict on each file, and what was read in the pixels of each series."""

    schema: ClassVar[str] = _SCHEMA

    def known(self) -> dict[str, FileVerdict]:
        """Return every verdict by the name of its source, in the order of names."""
        with self._connection() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM files ORDER BY source").fetchall()
        names = _COLUMNS.split(", ")
        return {row[0]: FileVerdict(**dict(zip(names, row, strict=True))) for row in rows}

    def record(self, verdicts: list[FileVerdict]) -> None:
        """Supersede what was known of some files."""
        names = _COLUMNS.split(", ")
        rows = [tuple(getattr(verdict, name) for name in names) for verdict in verdicts]
        places = ", ".join("?" * len(names))
        with self._connection() as connection:
            connection.executemany(f"INSERT OR REPLACE INTO files VALUES ({places})", rows)

    def forget(self, patient: str) -> None:
        """Delete what is known of a patient's files, by the pseudonym; it is written over."""
        with self._connection() as connection:
            connection.execute("PRAGMA secure_delete = ON")
            series = connection.execute("SELECT DISTINCT series FROM files WHERE patient = ?", (patient,)).fetchall()
            connection.executemany("DELETE FROM looks WHERE series = ?", series)
            connection.execute("DELETE FROM files WHERE patient = ?", (patient,))
            connection.commit()
            connection.execute("VACUUM")

    def look(self, series: str, samples: str) -> str | None:
        """Return what an earlier look into a series said, empty where it found nothing; None where there was none."""
        with self._connection() as connection:
            row = connection.execute(
                "SELECT message FROM looks WHERE series = ? AND samples = ?", (series, samples)
            ).fetchone()
        return None if row is None else row[0]

    def remember_look(self, series: str, samples: str, message: str) -> None:
        """Keep what a look into a series said."""
        with self._connection() as connection:
            connection.execute("INSERT OR REPLACE INTO looks VALUES (?, ?, ?)", (series, samples, message))
