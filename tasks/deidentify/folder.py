"""A folder of a hospital's files, freed of names file by file; killed and started again, it goes on."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tasks.deidentify.burnt_in import frames_to_read, marked, require_tesseract, words_in_frame
from tasks.deidentify.crosswalk import Crosswalk, crosswalk_path
from tasks.deidentify.damage import UNDECODABLE, is_mistake, place_of
from tasks.deidentify.dataset import patient_of
from tasks.deidentify.file import deidentify_file
from tasks.deidentify.journal import FileVerdict, Journal, Status
from tasks.deidentify.reading import Opened, opened, text_of
from tasks.deidentify.rules import classes
from tasks.errors import IdentifyingError, StoreError
from tasks.files.durable import replace_file
from tasks.files.fingerprint import facts_sha256
from tasks.files.pseudonyms import Pseudonyms
from tasks.inputs.naming import FREED
from tasks.jobs.deidentify import Deidentification
from tasks.out.folder import OutFolder

# What is in a folder of studies and no file of them.
_LEFT_OUT = ("not-dicom", "directory")
# Objects of numbers and codes whose frames are no pictures.
_NO_PICTURES = ("segmentation", "rt-dose", "parametric-map", "height-map-segmentation", "surface-segmentation")
# So many verdicts are written down together; a kill redoes that many files.
_TOGETHER = 64
_RULES_VERSION = 1


@dataclass(frozen=True)
class Look:
    """A frame in which text is looked for.

    Attributes:
        path: Of its file.
        frame: From 0.
    """

    path: Path
    frame: int


def deidentify_folder(
    source: Path,
    out: OutFolder,
    settings: Deidentification,
    pseudonyms: Pseudonyms,
    told: Callable[[FileVerdict], None],
) -> list[FileVerdict]:
    """Write what may be shown of each file below a folder, and a table that says what became of each.

    Args:
        source: A file, or a folder of them at any depth.
        out: Where results go; it must not lie in the source, nor the source in it.
        settings: Options of the profile, and what becomes of text in pixels.
        pseudonyms: Of the institution.
        told: Is told of each file as it is done.

    Returns:
        A verdict per file, in the order of their paths.

    Raises:
        StoreError: When OUT cannot be used, or Tesseract is missing.
        IdentifyingError: When there is no such folder.
        KeyFileError: When the crosswalk lies in OUT, or others may open it.
    """
    _require_apart(source, out.root)
    if settings.burnt_in == "refuse":
        require_tesseract()
    with out.locked():
        journal = Journal(journal_path(out))
        work = _Work(source, out.root, settings=settings, pseudonyms=pseudonyms, journal=journal)
        shown: list[Path] = []
        verdicts: list[FileVerdict] = []
        recorded = 0
        try:
            for path in _files(source):
                verdicts.append(work.verdict(path))
                told(verdicts[-1])
                if verdicts[-1].file:
                    shown.append(path)
                if len(verdicts) - recorded >= _TOGETHER:
                    journal.record(verdicts[recorded:])
                    recorded = len(verdicts)
        finally:
            journal.record(verdicts[recorded:])
        write_report(out.root / FREED, journal)
        if settings.crosswalk_days is not None:
            today = datetime.now(UTC).date().isoformat()
            Crosswalk(crosswalk_path(out.root), today).enter(shown, pseudonyms, settings.crosswalk_days)
    return verdicts


def journal_path(out: OutFolder) -> Path:
    """Return where a folder remembers which files were freed."""
    return out.scratch / "deidentify.sqlite"


def refused_files(out: OutFolder) -> list[FileVerdict]:
    """Return the newest verdicts on all files of a folder that cannot be shown, of earlier runs as well."""
    known = Journal(journal_path(out)).known().values()
    return [verdict for verdict in known if verdict.status == "refused"]


def find_source(source: Path, label: str, pseudonyms: Pseudonyms) -> Path | None:
    """Return the file that a table calls by a keyed name, for whoever holds the key; None where it is not there."""
    return next((path for path in _files(source) if pseudonyms.source(str(path.resolve())) == label), None)


def write_report(path: Path, journal: Journal) -> None:
    """Write the newest verdict on every file of OUT as a table."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    numbers = ("kept", "cleaned", "shifted", "replaced", "emptied", "removed", "undecodable")
    table.writerow(["source", "status", "code", "message", "patient", "study", "series", "file", "sha256", *numbers])
    for row in journal.known().values():
        counts = json.loads(row.counts) if row.counts else {}
        told = [row.source, row.status, row.code, row.message, row.patient, row.study, row.series, row.file, row.sha256]
        table.writerow([*told, *(counts.get(name, 0) for name in numbers)])
    replace_file(path, text.getvalue().encode())


def _require_apart(source: Path, out: Path) -> None:
    if not source.exists():
        raise IdentifyingError("unreadable", f"{source}: there is no such file or folder")
    inner, outer = out.resolve(), source.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise StoreError(f"{out}: one of IN and OUT lies in the other, so names and pseudonyms would mix. Name another")


def _files(source: Path) -> Iterator[Path]:
    if source.is_file():
        yield source
        return
    for folder, folders, names in os.walk(source):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            # Links lead out of what was named, pipes never end.
            if path.is_file() and not path.is_symlink():
                yield path


class _Work:
    """Gives verdicts on files one after another."""

    def __init__(
        self, source: Path, root: Path, settings: Deidentification, pseudonyms: Pseudonyms, journal: Journal
    ) -> None:
        self._source = source
        self._root = root
        self._settings = settings
        self._pseudonyms = pseudonyms
        self._journal = journal
        self._known = journal.known()
        self._by_name = {row.file: row for row in self._known.values() if row.status == "done"}
        self._digest = facts_sha256(
            {
                "rules": _RULES_VERSION,
                "key": pseudonyms.key.id,
                **settings.model_dump(mode="json", exclude={"crosswalk_days"}),
            }
        )[:16]
        self._samples: dict[str, list[Look]] | None = None
        self._seen: dict[str, str] = {}

    def verdict(self, path: Path) -> FileVerdict:
        """Return what became of a file: what an earlier run wrote down, where nothing changed since."""
        now = FileVerdict(source=self._label(path), stamp=self._stamp(path), settings=self._digest, status="refused")
        before = self._known.get(now.source)
        if before is not None and self._stands(before, now):
            return before
        try:
            verdict = self._written(path, now)
        except IdentifyingError as error:
            status: Status = "left out" if error.code in _LEFT_OUT else "refused"
            verdict = replace(self._placed(path, now), status=status, code=error.code, message=str(error))
        except (*UNDECODABLE, MemoryError) as error:
            # Its text may hold values of the file.
            kind = type(error).__name__
            code, text = "damaged", f"cannot be read to its end ({kind})"
            if is_mistake(error):
                # One file must not end the others, nor a mistake of ours be taken for theirs.
                code, text = "mistake", f"swathe made a mistake with it ({kind} in {place_of(error)}). Report that"
            verdict = replace(self._placed(path, now), code=code, message=text)
        self._forget(before, verdict)
        self._known[verdict.source] = verdict
        if verdict.status == "done":
            self._by_name[verdict.file] = verdict
        return verdict

    def _placed(self, path: Path, now: FileVerdict) -> FileVerdict:
        """Say by pseudonyms whose a refused file is, as far as its header tells: its series is not whole."""
        try:
            with opened(path) as file:
                study, series = text_of(file.header, "StudyInstanceUID"), text_of(file.header, "SeriesInstanceUID")
                if not study or not series:
                    return now
                patient = patient_of(file.header, self._pseudonyms).pseudonym
        except IdentifyingError:
            return now
        return replace(
            now, patient=patient, study=self._pseudonyms.study(study), series=self._pseudonyms.series(series)
        )

    def _forget(self, before: FileVerdict | None, now: FileVerdict) -> None:
        """Delete what an earlier run made of a file that is now refused, or another patient's."""
        if before is None or before.status != "done" or before.file == now.file:
            return
        others = (row.file for row in self._known.values() if row.source != now.source)
        if before.file not in others:
            (self._root / before.file).unlink(missing_ok=True)
            self._by_name.pop(before.file, None)

    def _label(self, path: Path) -> str:
        return self._pseudonyms.source(str(path.resolve()))

    def _stamp(self, path: Path) -> str:
        status = path.stat()
        return self._pseudonyms.key.keyed("stamp", f"{status.st_size} {status.st_mtime_ns}")[:8].hex()

    def _stands(self, before: FileVerdict, now: FileVerdict) -> bool:
        if (before.stamp, before.settings) != (now.stamp, now.settings):
            return False
        return before.status not in ("done", "same") or (self._root / before.file).is_file()

    def _written(self, path: Path, now: FileVerdict) -> FileVerdict:
        if self._settings.burnt_in == "refuse":
            self._look_into(path)

        def admit(name: str, sha256: str) -> bool:
            other = self._by_name.get(name)
            if other is None or other.source == now.source or other.settings != now.settings:
                return True
            if other.sha256 != sha256:
                raise IdentifyingError(
                    "two-contents",
                    f"has the SOP instance UID of {other.source} and holds something else; which of them is right, "
                    "nobody can tell",
                )
            return False

        written = deidentify_file(path, self._root, settings=self._settings, pseudonyms=self._pseudonyms, admit=admit)
        counts = {**written.done.counts, "undecodable": written.done.undecodable}
        return replace(
            now,
            status="done" if written.admitted else "same",
            patient=written.patient,
            study=written.study,
            series=written.series,
            file=written.name,
            sha256=written.sha256,
            counts=json.dumps(counts, sort_keys=True),
        )

    def _look_into(self, path: Path) -> None:
        """Refuse a file in whose series Tesseract reads words."""
        with opened(path) as file:
            if not _is_picture(file):
                return
            # Before its pixels are looked at: what says that it holds text is refused without.
            marked(file.header)
            series = text_of(file.header, "SeriesInstanceUID")
        if series not in self._seen:
            self._seen[series] = self._looked(series)
        if self._seen[series]:
            code, _, message = self._seen[series].partition(": ")
            raise IdentifyingError(code, message)

    def _looked(self, series: str) -> str:
        if self._samples is None:
            self._samples = _samples(self._source)
        looks = self._samples[series]
        label = self._pseudonyms.series(series)
        stamps = facts_sha256([(self._label(look.path), self._stamp(look.path), look.frame) for look in looks])
        before = self._journal.look(label, stamps)
        if before is None:
            before = _read_text(looks)
            self._journal.remember_look(label, stamps, before)
        return before


def _is_picture(file: Opened) -> bool:
    iod = classes().iods.get(text_of(file.header, "SOPClassUID"))
    return file.has_pixels and iod not in _NO_PICTURES


def _samples(source: Path) -> dict[str, list[Look]]:
    """Return by series the first, the middle and the last frame of all its files."""
    frames: dict[str, list[Look]] = {}
    for path in _files(source):
        try:
            with opened(path) as file:
                if _is_picture(file):
                    n_frames = _whole_number(text_of(file.header, "NumberOfFrames"))
                    series = frames.setdefault(text_of(file.header, "SeriesInstanceUID"), [])
                    series.extend(Look(path, frame) for frame in frames_to_read(n_frames))
        except IdentifyingError:
            # Its own verdict says so.
            continue
    return {series: [looks[at] for at in frames_to_read(len(looks))] for series, looks in frames.items()}


def _whole_number(text: str) -> int:
    return int(text) if text.isdecimal() and int(text) > 0 else 1


def _read_text(looks: Sequence[Look]) -> str:
    """Return why a series is refused, its code before its text; nothing where no frame holds words."""
    blind = ""
    for look in looks:
        try:
            with opened(look.path) as file:
                words = words_in_frame(look.path, file.header, look.frame)
        except IdentifyingError as error:
            blind = f"{error.code}: {error}"
            continue
        if words:
            return f"burnt-in-text: {len(words)} words can be read in the pixels of its series"
    return blind
