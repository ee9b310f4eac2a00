"""What patients, studies and dates are called wherever they may be seen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from tasks.dicom.instance import Instance
from tasks.dicom.series import Found
from tasks.files.pseudonyms import Pseudonyms, whose

# Below the folder of files that were freed of names: patient, study, series, file.
_FREED_DEPTH = 4


@dataclass(frozen=True)
class Whom:
    """Whom a scene shows.

    Attributes:
        patient: Pseudonym.
        study: Short name.
        date: ISO; None where nothing tells.
    """

    patient: str
    study: str
    date: str | None


@dataclass(frozen=True)
class People:
    """Finds pseudonyms for what headers say.

    Attributes:
        pseudonyms: Of the institution; None where all files were freed of names, and lie in folders called so.
        moves_dates: Whether dates move as those of results do.
    """

    pseudonyms: Pseudonyms | None
    moves_dates: bool = False

    def whom(self, found: Found | Instance, path: str) -> Whom:
        """Return whom something shows.

        Args:
            found: What headers say of it.
            path: One of its files.
        """
        day = found.date or None
        if self.pseudonyms is None:
            patient, study = Path(path).parts[-_FREED_DEPTH : 2 - _FREED_DEPTH]
            return Whom(patient, study, day)
        known = whose(found.patient_id, found.study_uid)
        if day is not None and self.moves_dates:
            day = _moved(day, self.pseudonyms.days(known))
        return Whom(self.pseudonyms.patient(known), self.pseudonyms.study(found.study_uid), day)


def _moved(day: str, days: int) -> str | None:
    try:
        return (date.fromisoformat(day) + timedelta(days)).isoformat()
    except OverflowError:
        # Of the first years of the calendar, which no scanner saw.
        return None
