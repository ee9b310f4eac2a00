"""The first stage of jobs that ask for it: DICOM files are freed of what names a patient before they are looked at."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from flows.batch.receiving import refused_series
from tasks.deidentify.journal import FileVerdict
from tasks.errors import JobError
from tasks.files.durable import replace_file
from tasks.files.fingerprint import file_sha256
from tasks.files.keys import institution_key
from tasks.files.pseudonyms import Pseudonyms
from tasks.inputs.listing import SINGLE_ROLE, all_named
from tasks.inputs.naming import FREED
from tasks.intake.request import Request
from tasks.jobs.deidentify import Deidentification
from tasks.nights.worklist import write_worklist
from tasks.out.audit import AuditLog
from tasks.out.folder import OutFolder
from tasks.out.ledger import Ledger
from tasks.out.worklist import WorklistLedger
from tasks.scenes.tables import TableError, read_table

logger = logging.getLogger(__name__)

_LINE_INTERVAL_S = 10.0


@dataclass(frozen=True)
class Freed:
    """What takes the place of the inputs.

    Attributes:
        inputs: A folder for each whole series, below OUT's work folder.
        verdicts: What became of each file.
    """

    inputs: list[str]
    verdicts: Sequence[FileVerdict]

    @property
    def n_refused(self) -> int:
        """How many files cannot be freed, so that nothing of them goes on."""
        return sum(verdict.status == "refused" for verdict in self.verdicts)


def free_inputs(inputs: Sequence[str], request: Request) -> Freed:
    """Free the inputs of a job of what names a patient; from here on nothing sees the source.

    Args:
        inputs: DICOM files and folders, or tables with a column ``file`` of these; freed ones are taken as they are.
        request: Whose job has a section ``deidentify``.

    Raises:
        JobError: When an input is none of these.
        AuditError: When the audit log is not as it was written.
        KeyFileError: When the institution's key cannot be used.
        StoreError: When OUT cannot be used.
    """
    settings, out = request.job.deidentify, request.out
    named = [Path(text) for text in all_named(inputs)]
    work = out.freed
    if settings is None or all(path.resolve().is_relative_to(work.root) for path in named):
        return Freed(list(inputs), ())
    # What is wrong is not told by its name: this may be a run on a server.
    unfit = sum(not path.exists() for path in named)
    if unfit:
        raise JobError(
            f"job '{request.job.job}': deidentify takes DICOM files and folders that are here, or tables of them, and "
            f"{unfit} of {len(named)} inputs are none. Name those, or leave deidentify out"
        )
    # Here, because few jobs free files, and it brings pydicom and scipy.
    from tasks.deidentify.folder import refused_files

    Ledger(out.ledger).require_job(request.job.job)
    pseudonyms = Pseudonyms(institution_key(out.root))
    log = AuditLog(out, pseudonyms.key)
    listed = [path for one in named for path in _listed(one)]
    there = [path for path in listed if path.exists()]
    absent = [_absent(path, pseudonyms) for path in listed if not path.exists()]
    verdicts = list(absent)
    if there:
        verdicts += free_folder(there, work, settings=settings, pseudonyms=pseudonyms, log=log)
        replace_file(out.root / FREED, (work.root / FREED).read_bytes())
    folders = _whole_series(work, verdicts)
    whole = {folder.name for folder in folders}
    # Those of earlier batches as well, but for series that have come again since.
    refused = [verdict for verdict in (*refused_files(work), *absent) if verdict.series not in whole]
    WorklistLedger(out.ledger).refuse(refused_series(refused), datetime.now(UTC).isoformat(timespec="seconds"))
    write_worklist(out)
    return Freed([str(folder) for folder in folders], verdicts)


def require_freed(freed: Freed, request: Request) -> Freed:
    """Refuse a batch of which nothing may be shown.

    Raises:
        JobError: When it is one.
    """
    if not freed.inputs:
        counts = Counter(verdict.code for verdict in freed.verdicts)
        said = ", ".join(f"{count} {code}" for code, count in sorted(counts.items())) or "there is none"
        raise JobError(f"none of {len(freed.verdicts)} files may be shown: {said}; {request.out.root / FREED} says why")
    return freed


def _listed(named: Path) -> list[Path]:
    """Return the files and folders that a table names; of its rows nothing else is believed: ids may be names."""
    if named.suffix.casefold() != ".csv":
        return [named]
    try:
        table = read_table(named)
    except TableError as error:
        raise JobError(f"the worklist cannot be read: {error}") from error
    if SINGLE_ROLE not in table.columns:
        raise JobError(f"the worklist has no column '{SINGLE_ROLE}', with a folder or file of DICOM in each row")
    return [named.parent / row[SINGLE_ROLE].strip() for row in table.rows if row[SINGLE_ROLE].strip()]


def _absent(path: Path, pseudonyms: Pseudonyms) -> FileVerdict:
    text = "the worklist names it, and there is no such file or folder"
    return FileVerdict(
        source=pseudonyms.source(str(path.resolve())),
        stamp="",
        settings="",
        status="refused",
        code="missing",
        message=text,
    )


def _whole_series(work: OutFolder, verdicts: Sequence[FileVerdict]) -> list[Path]:
    """Return the folders of freed series of which no file was refused: without a slice it is another volume."""
    broken = {verdict.series for verdict in verdicts if verdict.status == "refused"}
    files = {work.root / verdict.file for verdict in verdicts if verdict.file}
    folders = sorted({file.parent for file in files if file.parent.name not in broken})
    for folder in folders:
        # Of an earlier run, which was asked for more of the series.
        for stale in set(folder.glob("*.dcm")) - files:
            stale.unlink()
    return folders


def free_folder(
    sources: Sequence[Path], out: OutFolder, settings: Deidentification, pseudonyms: Pseudonyms, log: AuditLog
) -> list[FileVerdict]:
    """Free files and folders of names, with a line in the log every ten seconds, and one in an audit log.

    Raises:
        AuditError: When that is not as it was written.
        StoreError: When OUT cannot be used, or Tesseract is missing.
        IdentifyingError: When there is no such folder.
    """
    # Here, because few jobs free files, and it brings pydicom and scipy.
    from tasks.deidentify.folder import deidentify_folder

    log.require_whole()
    told = _Progress()
    verdicts = [
        row
        for source in sources
        for row in deidentify_folder(source, out, settings=settings, pseudonyms=pseudonyms, told=told.tell)
    ]
    facts = {
        "files": Counter(verdict.status for verdict in verdicts),
        "refused": Counter(verdict.code for verdict in verdicts if verdict.status == "refused"),
        "patients": sorted({verdict.patient for verdict in verdicts if verdict.patient}),
        "settings": settings.model_dump(mode="json"),
        "key": pseudonyms.key.id,
        "table_sha256": file_sha256(out.root / FREED),
        "swathe": version("swathe"),
    }
    log.append("files freed", datetime.now(UTC).isoformat(timespec="seconds"), facts)
    return verdicts


class _Progress:
    """A line in the log every ten seconds."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._last = time.monotonic()

    def tell(self, verdict: FileVerdict) -> None:
        """Count a file."""
        self._counts[verdict.status] += 1
        if time.monotonic() - self._last >= _LINE_INTERVAL_S:
            self._last = time.monotonic()
            told = ", ".join(f"{count} {status}" for status, count in sorted(self._counts.items()))
            logger.info("%s files: %s", self._counts.total(), told)
