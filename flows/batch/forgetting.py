"""``swathe forget``: one patient, from everything that swathe keeps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.analysis.tumour.following import trails
from tasks.deidentify.crosswalk import Crosswalk
from tasks.nights.forgetting import (
    Erasure,
    erase_files,
    erase_from_nights,
    erase_rows,
    find_patient,
    remaining_outcomes,
)
from tasks.out.audit import AuditLog
from tasks.out.folder import OutFolder
from tasks.out.outcome import write_batch
from tasks.reports.index import write_index
from tasks.reports.night import write_night

# What no program of this machine can delete, and where a person has to look.
UNREACHED = (
    "the hospital's own files: the source folder, and results that were returned or sent",
    "copies and backups of OUT, of the crosswalk and of the Prefect server's database",
    "the audit log: its lines name the patient's scenes by hashes, with numbers, and are kept as evidence",
    "events on the Prefect server, which it deletes by itself after PREFECT_EVENTS_RETENTION_PERIOD (7 days)",
    "what terminals, log files, mail and journals of the system kept of earlier runs: pseudonyms and ids of scenes",
    "blocks of the disk that the file system has not written over yet",
)


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What was deleted.

    Attributes:
        products: How many.
        scenes: How many.
        freed: Folders of freed files.
        studies: In the crosswalk.
        runs: On the Prefect server; None where none was asked.
    """

    products: int
    scenes: int
    freed: int
    studies: int
    runs: int | None

    @property
    def is_nothing(self) -> bool:
        """Whether nothing was known of the patient."""
        return not (self.products or self.scenes or self.freed or self.studies)


def forget(out: OutFolder, patient: str, log: AuditLog, crosswalk: Crosswalk, *, has_server: bool) -> Forgotten:
    """Delete a patient; killed and begun again, it deletes what is left.

    Args:
        out: A folder of products, or of freed files.
        patient: Pseudonym.
        log: Of the folder: a line in it says what was deleted.
        crosswalk: Of the institution.
        has_server: Whether a Prefect server can be asked.

    Raises:
        HeldFolderError: When a run is at work in the folder.
        AuditError: When the log is not as it was written.
        SwatheError: When something could not be deleted.
    """
    with out.locked():
        log.require_whole()
        found = find_patient(out, patient)
        runs = None
        if has_server:
            from flows.server.forgetting import forget_runs

            runs = forget_runs([*found.scenes, patient]) if found.scenes else 0
        erase_files(out, found)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        _tell_anew(out, found, now)
        forgotten = Forgotten(
            products=len(found.products),
            scenes=len(found.scenes),
            freed=len(found.freed),
            studies=crosswalk.forget(patient) if crosswalk.path.exists() else 0,
            runs=runs,
        )
        if not forgotten.is_nothing:
            log.append("patient forgotten", now, _tombstone(patient, forgotten))
        erase_rows(out, found)
    return forgotten


def _tombstone(patient: str, forgotten: Forgotten) -> dict[str, object]:
    counts = {"products": forgotten.products, "freed_folders": forgotten.freed, "studies": forgotten.studies}
    return {"patient": patient, "deleted": {**counts, "prefect_runs": forgotten.runs}, "not_reached": list(UNREACHED)}


def _tell_anew(out: OutFolder, found: Erasure, now: str) -> None:
    """Write the tables and pages of OUT again that told of the patient."""
    remaining = remaining_outcomes(out, found.scenes)
    if remaining is not None:
        job, outcomes = remaining
        write_batch(out.root, job, outcomes)
        write_index(out.root, job, outcomes, trails(out))
    if out.ledger.is_file():
        for night in erase_from_nights(out, found.scenes, now):
            write_night(out.root, night.job, night)
