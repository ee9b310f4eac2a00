"""What stands for patients, studies and UIDs: keyed hashes, the same in every batch of one institution."""

from __future__ import annotations

import base64
import re
import uuid
from dataclasses import dataclass

from tasks.files.keys import InstitutionKey

# UIDs of the standard itself: classes, transfer syntaxes, frames of reference of atlases, coding schemes.
STANDARD_UIDS = "1.2.840.10008."

# Sixty bits: among a million patients two meet with a chance of one in two million.
_LABEL_CHARACTERS = 12
_PSEUDONYM = re.compile(rf"P-[A-Z2-7]{{{_LABEL_CHARACTERS}}}")
# Dates go back, so that none lies in the future, and by no less than some months.
_FEWEST_DAYS = 100
_DAYS = 3653


def bare(text: str) -> str:
    """Return an identifier without the padding that DICOM puts round it."""
    return text.strip(" \0")


def whose(patient_id: str, study_uid: str) -> str:
    """Return what tells patients apart: the id, or where that is empty the study, each a patient of its own."""
    return bare(patient_id) or f"study {bare(study_uid)}"


@dataclass(frozen=True)
class Pseudonyms:
    """Stands for identifiers under one key; another key knows none of these pseudonyms.

    Attributes:
        key: Of the institution; it lies outside OUT.
    """

    key: InstitutionKey

    def patient(self, patient_id: str) -> str:
        """Return the pseudonym of a patient, such as ``P-7Q4ZK2M5VD3A``.

        Args:
            patient_id: (0010,0020) as the institution wrote it; blanks around it do not count.
        """
        return f"P-{self._label('patient', bare(patient_id))}"

    def named(self, text: str) -> str:
        """Return a pseudonym as it is, and of any other text the pseudonym of the patient who has it as id."""
        return text if _PSEUDONYM.fullmatch(text) else self.patient(text)

    def study(self, study_uid: str) -> str:
        """Return a short name for a study, for folders and tables; in files its UID stands, see ``uid``."""
        return f"S-{self._label('study', bare(study_uid))}"

    def series(self, series_uid: str) -> str:
        """Return a short name for a series, for folders and tables."""
        return f"R-{self._label('series', bare(series_uid))}"

    def uid(self, uid: str) -> str:
        """Return the UID that stands for another; those of the standard stand for themselves.

        It is one of the form ``2.25.`` and a UUID (PS3.5 B.2), made of 122 bits of the keyed hash.
        """
        uid = bare(uid)
        if not uid or uid.startswith(STANDARD_UIDS):
            return uid
        return f"2.25.{uuid.UUID(bytes=self.key.keyed('uid', uid)[:16], version=5).int}"

    def days(self, patient_id: str) -> int:
        """Return by how many days all dates of a patient move; negative, in whole days, so that times of day stay."""
        drawn = int.from_bytes(self.key.keyed("days", bare(patient_id))[:8])
        return -(_FEWEST_DAYS + drawn % _DAYS)

    def source(self, path: str) -> str:
        """Return what a file is called in records: paths may name patients."""
        return f"F-{self._label('source', path)}"

    def _label(self, purpose: str, text: str) -> str:
        return base64.b32encode(self.key.keyed(purpose, text))[:_LABEL_CHARACTERS].decode()
