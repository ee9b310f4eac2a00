"""Which pseudonyms stand for whom, for as long as a job says: so that results can go back into the original study."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from sqlite3 import Connection
from typing import Any, ClassVar

from pydicom import Dataset

from models.parsed import from_json
from tasks.deidentify.dataset import patient_of
from tasks.deidentify.reading import opened, text_of
from tasks.errors import KeyFileError
from tasks.files.keys import default_key_path, require_outside
from tasks.files.pseudonyms import Pseudonyms
from tasks.files.room import writing
from tasks.out.ledger_file import LedgerFile

VARIABLE = "SWATHE_CROSSWALK_FILE"
# What is the same in all files of a study, and is the hospital's to know.
STUDY_WIDE = (
    "SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    "PatientAge", "PatientSize", "PatientWeight", "EthnicGroup", "StudyInstanceUID", "StudyID", "StudyDate",
    "StudyTime", "StudyDescription", "AccessionNumber", "ReferringPhysicianName", "TimezoneOffsetFromUTC",
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
)  # fmt: skip
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS studies (
    uid TEXT PRIMARY KEY, patient TEXT NOT NULL, days INTEGER NOT NULL, header TEXT NOT NULL, until TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS uids (uid TEXT NOT NULL, study TEXT NOT NULL, original TEXT NOT NULL,
    PRIMARY KEY (uid, study));
"""


@dataclass(frozen=True, kw_only=True)
class OriginalStudy:
    """A study as the hospital knows it.

    Attributes:
        patient: Pseudonym.
        days: By how many its dates were moved.
        header: What is the same in all its files.
        uids: The hospital's, by those that stand for them.
    """

    patient: str
    days: int
    header: Dataset
    uids: dict[str, str]


@dataclass(frozen=True)
class Crosswalk(LedgerFile):
    """The file, which is its owner's alone; what is older than its job allowed is deleted whenever it is opened.

    Attributes:
        today: ISO date, in UTC.
    """

    today: str
    schema: ClassVar[str] = _SCHEMA

    def enter(self, files: Iterable[Path], pseudonyms: Pseudonyms, days: int) -> None:
        """Enter the studies of files that were freed of names.

        Args:
            files: Of the hospital.
            pseudonyms: What stands for its identifiers.
            days: How long a study is kept at most, from the day on which its first file was entered.

        Raises:
            IdentifyingError: When a file cannot be read any more.
            StoreError: When the crosswalk cannot be written to.
        """
        until = (date.fromisoformat(self.today) + timedelta(days)).isoformat()
        with self._connection() as connection:
            known = {row[0] for row in connection.execute("SELECT uid FROM uids")}
            for path in files:
                with opened(path) as file:
                    _enter(connection, file.header, pseudonyms=pseudonyms, known=known, until=until)

    def study(self, uid: str) -> OriginalStudy | None:
        """Return what a study's UID stands for; None where nobody entered it, or its time is over."""
        with self._connection() as connection:
            row = connection.execute("SELECT patient, days, header FROM studies WHERE uid = ?", (uid,)).fetchone()
            uids = dict(connection.execute("SELECT uid, original FROM uids WHERE study = ?", (uid,)).fetchall())
        if row is None:
            return None
        with self._understood():
            return OriginalStudy(
                patient=str(row[0]), days=int(row[1]), header=Dataset.from_json(from_json(row[2])), uids=uids
            )

    def forget(self, patient: str) -> int:
        """Delete what is known of a patient by its pseudonym; return how many studies that were."""
        with self._connection() as connection:
            return _delete(connection, "patient = ?", patient)

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        _require_private(self.path)
        with super()._connection() as connection:
            # What is deleted is written over.
            connection.execute("PRAGMA secure_delete = ON")
            _delete(connection, "until < ?", self.today)
            yield connection


def crosswalk_path(out: Path) -> Path:
    """Return where the crosswalk lies: as a variable says, else beside the institution's key.

    Raises:
        KeyFileError: When that is below OUT.
    """
    named = os.environ.get(VARIABLE)
    path = Path(named) if named else default_key_path().with_name("crosswalk.sqlite")
    require_outside(path, out, VARIABLE)
    return path


def _require_private(path: Path) -> None:
    """Make the file where there is none, its owner's alone, and refuse one that others may open."""
    with writing("the crosswalk", path.parent):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            mode = path.stat().st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise KeyFileError(
                    f"{path}: others than its owner may open it (mode {stat.S_IMODE(mode):04o}), and it says who "
                    f"patients are: chmod 600 {path}"
                ) from None


def _enter(connection: Connection, header: Dataset, pseudonyms: Pseudonyms, known: set[str], until: str) -> None:
    new = pseudonyms.uid(text_of(header, "SOPInstanceUID"))
    if new in known:
        return
    known.add(new)
    study = pseudonyms.uid(text_of(header, "StudyInstanceUID"))
    patient = patient_of(header, pseudonyms)
    told = json.dumps(_study_wide(header).to_json_dict())
    connection.execute(
        "INSERT OR IGNORE INTO studies VALUES (?, ?, ?, ?, ?)", (study, patient.pseudonym, patient.days, told, until)
    )
    rows = [(pseudonyms.uid(original), study, original) for name in _UIDS if (original := text_of(header, name))]
    connection.executemany("INSERT OR IGNORE INTO uids VALUES (?, ?, ?)", rows)


def _study_wide(header: Dataset) -> Dataset:
    kept = Dataset()
    for keyword in STUDY_WIDE:
        if keyword in header:
            kept.add(header[keyword])
    return kept


def _delete(connection: Connection, which: str, value: Any) -> int:  # noqa: ANN401 - what SQLite takes
    found = [row[0] for row in connection.execute(f"SELECT uid FROM studies WHERE {which}", (value,))]
    connection.executemany("DELETE FROM uids WHERE study = ?", [(uid,) for uid in found])
    connection.executemany("DELETE FROM studies WHERE uid = ?", [(uid,) for uid in found])
    return len(found)
