"""The audit log of an OUT folder: lines chained by keyed hashes, so that nobody without the key changes them unseen."""

from __future__ import annotations

import fcntl
import hmac
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal

from models.parsed import from_json
from tasks.errors import AuditError
from tasks.files.durable import sync
from tasks.files.keys import InstitutionKey
from tasks.files.room import writing
from tasks.inputs.naming import AUDIT
from tasks.out.folder import OutFolder, open_for_writers
from tasks.out.ledger_file import LedgerFile

_SCHEMA = """
CREATE TABLE IF NOT EXISTS audit_head (
    only INTEGER PRIMARY KEY CHECK (only = 1), number INTEGER NOT NULL, hash TEXT NOT NULL, key TEXT NOT NULL,
    ends INTEGER NOT NULL
);
"""
_PURPOSE = "audit line"
# The hash stands at the end of its line, and is of everything before it, byte by byte.
_LINE = re.compile(rb'(\{.*),"hash":"([0-9a-f]{64})"\}\n')
# No line is longer.
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Head:
    """A line of the log, as ledger and run records name it.

    Attributes:
        number: From 1.
        hash: Of the line and of all before it.
    """

    number: int
    hash: str


# What stands before the first line.
_START = Head(0, "")


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was written.

    Attributes:
        line: In the file, from 1; None where it is of the file as a whole.
        what: One word or two.
        text: For people.
    """

    line: int | None
    what: Literal["changed", "left out", "added", "cut", "replaced", "missing"]
    text: str


@dataclass(frozen=True)
class KnownHead:
    """The last line, as the ledger remembers it.

    Attributes:
        head: The line.
        key_id: Of the key that it was written with.
        ends: How many bytes the log had with it.
    """

    head: Head
    key_id: str
    ends: int


@dataclass(frozen=True)
class AuditHeads(LedgerFile):
    """The last line of the log, as the ledger remembers it."""

    schema: ClassVar[str] = _SCHEMA

    def known(self) -> KnownHead | None:
        """Return the last line; None where there was none."""
        with self._connection() as connection:
            row = connection.execute("SELECT number, hash, key, ends FROM audit_head").fetchone()
        return None if row is None else KnownHead(Head(row[0], row[1]), row[2], row[3])

    def enter(self, known: KnownHead) -> None:
        """Remember a line as the last."""
        row = (known.head.number, known.head.hash, known.key_id, known.ends)
        with self._connection() as connection:
            connection.execute("INSERT OR REPLACE INTO audit_head VALUES (1, ?, ?, ?, ?)", row)


def has_audit(out: OutFolder) -> bool:
    """Tell whether a log was begun in a folder, be it gone since."""
    if (out.root / AUDIT).exists():
        return True
    return out.ledger.is_file() and AuditHeads(out.ledger).known() is not None


@dataclass(frozen=True)
class _Line:
    """A line of the file: which one it is, and what comes before it by its own word; None where nobody wrote it."""

    head: Head | None
    before: str = ""


@dataclass(frozen=True)
class AuditLog:
    """Adds lines to the log of a folder, and tells whether they are as they were written.

    Attributes:
        out: Whose log it is.
        key: Of the institution; it lies outside OUT.
    """

    out: OutFolder
    key: InstitutionKey

    @property
    def path(self) -> Path:
        """Of the log."""
        return self.out.root / AUDIT

    def append(self, event: str, time: str, facts: Mapping[str, Any]) -> Head:
        """Add a line, through to the disk; a line that a crash left unfinished goes.

        Args:
            event: What happened.
            time: When, ISO 8601 in UTC.
            facts: What JSON can say; nothing that names a patient.

        Raises:
            AuditError: When its last line is not as it was written, or it was begun with another key.
            StoreError: When it cannot be written to.
        """
        with self._held() as file:
            last = self._last(file)
            head = self._written(file, last, {"event": event, "time": time, **facts})
            AuditHeads(self.out.ledger).enter(KnownHead(head, self.key.id, file.tell()))
        return head

    def require_whole(self) -> None:
        """Refuse to go on with a log that is not as it was written.

        Raises:
            AuditError: When something of it was changed.
        """
        finding = next(self.findings(), None) if has_audit(self.out) else None
        if finding is not None:
            where = "" if finding.line is None else f"line {finding.line} "
            raise AuditError(f"{self.path}: {where}{finding.text}. {_LOOK}")

    def findings(self) -> Iterator[Finding]:
        """Yield what is not as it was written: in the file, against the ledger, and against records of products."""
        known = AuditHeads(self.out.ledger).known() if self.out.ledger.is_file() else None
        if not self.path.is_file():
            yield Finding(None, "missing", f"{AUDIT} is not there, and lines were written")
            return
        head = _START if known is None else known.head
        lines = list(self._lines())
        yield from _broken(lines, head)
        written = {line.head.number: line.head.hash for line in lines if line.head is not None}
        if len(lines) < head.number and not _ends_broken(lines):
            yield Finding(None, "cut", f"{head.number - len(lines)} lines at the end are not there")
        elif written.get(head.number, head.hash) != head.hash:
            yield Finding(head.number, "replaced", "is not the line that the ledger remembers")
        if written:
            yield from self._against_records(written)

    def n_lines(self) -> int:
        """Count the lines, finished or not by those who may write them."""
        return sum(1 for _ in self._lines())

    def _against_records(self, written: Mapping[int, str]) -> Iterator[Finding]:
        """Compare with the lines that run records of products name."""
        for path in sorted((self.out.root / ".products").glob("*/*/run.json")):
            named = _named_line(path)
            if named is None:
                continue
            record = path.relative_to(self.out.root)
            if named.number > max(written):
                yield Finding(None, "cut", f"{record} names line {named.number}, which is not there")
            elif written.get(named.number, named.hash) != named.hash:
                yield Finding(named.number, "replaced", f"is not the line that {record} names")

    @contextmanager
    def _held(self) -> Iterator[BinaryIO]:
        """Open the log for one writer at a time."""
        self.out.root.mkdir(parents=True, exist_ok=True)
        self.out.require_own(self.path)
        with writing("the audit log", self.out.root), os.fdopen(open_for_writers(self.path), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file

    def _last(self, file: BinaryIO) -> Head:
        """Return the last line, and leave the file behind it; what a crash left unfinished is cut off.

        What lies before the line that the ledger remembers is not read again: ``require_whole`` does that, once a run.
        """
        last, at = self._remembered(file)
        file.seek(at)
        for raw in _raw_lines(file):
            if not raw.endswith(b"\n"):
                break
            line = self._read(raw)
            if line.head is None or line.head.number != last.number + 1 or line.before != last.hash:
                raise AuditError(f"{self.path}: line {last.number + 1} was not written by swathe. {_LOOK}")
            last, at = line.head, at + len(raw)
        file.seek(at)
        file.truncate()
        return last

    def _remembered(self, file: BinaryIO) -> tuple[Head, int]:
        """Return the line that the ledger remembers, and where it ends, after a look at its bytes."""
        known = AuditHeads(self.out.ledger).known()
        if known is None:
            return _START, 0
        if known.key_id != self.key.id:
            raise AuditError(
                f"{self.path}: was begun with the institution's key {known.key_id}, and this is {self.key.id}. Name "
                "that key's file in SWATHE_KEY_FILE, or another --out"
            )
        begin = max(0, known.ends - _MOST_BYTES)
        file.seek(begin)
        *_, raw = file.read(known.ends - begin).splitlines(keepends=True) or [b""]
        if self._read(raw).head != known.head:
            raise AuditError(f"{self.path}: is not the log that the ledger remembers. {_LOOK}")
        return known.head, known.ends

    def _written(self, file: BinaryIO, last: Head, facts: Mapping[str, Any]) -> Head:
        row = {"number": last.number + 1, **facts, "before": last.hash}
        body = json.dumps(row, separators=(",", ":"))[:-1]
        head = Head(last.number + 1, self._hash(body))
        file.write(f'{body},"hash":"{head.hash}"}}\n'.encode())
        file.flush()
        os.fsync(file.fileno())
        if last is _START:
            sync(self.out.root)
        return head

    def _lines(self) -> Iterator[_Line]:
        with self.path.open("rb") as file:
            for raw in _raw_lines(file):
                if raw.endswith(b"\n"):
                    yield self._read(raw)

    def _read(self, raw: bytes) -> _Line:
        match = _LINE.fullmatch(raw)
        try:
            body = "" if match is None else match[1].decode("ascii")
            if match is None or not hmac.compare_digest(self._hash(body), match[2].decode()):
                return _Line(None)
            row = from_json(f"{body}}}")
            return _Line(Head(int(row["number"]), match[2].decode()), str(row["before"]))
        except (ValueError, KeyError, TypeError):
            return _Line(None)

    def _hash(self, body: str) -> str:
        return self.key.keyed(_PURPOSE, body).hex()


_LOOK = "Look with: swathe audit; to begin another log, move this one and the folder's ledger away"


def _raw_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield lines with their ends, none longer than what swathe writes."""
    while line := file.readline(_MOST_BYTES):
        yield line


def _ends_broken(lines: Sequence[_Line]) -> bool:
    """Tell whether the last lines are nobody's: what is missing at the end is told of with them."""
    return bool(lines) and lines[-1].head is None


def _broken(lines: Sequence[_Line], known: Head) -> Iterator[Finding]:
    """Yield where the chain breaks: between two lines that were written lie as many as their numbers say."""
    last, foreign = _START, 0
    for at, line in enumerate(lines, 1):
        if line.head is None:
            foreign += 1
            continue
        if line.head.number <= last.number:
            yield Finding(at, "added", f"is line {line.head.number} once more, or in another place")
            continue
        yield from _between(at - foreign, foreign, line.head.number - last.number - 1)
        if line.head.number == last.number + 1 and line.before != last.hash:
            yield Finding(at, "replaced", "does not follow the line before it: it is of another log")
        last, foreign = line.head, 0
    missing = max(0, known.number - last.number)
    if foreign:
        yield from _between(len(lines) - foreign + 1, foreign, missing)


def _between(at: int, foreign: int, missing: int) -> Iterator[Finding]:
    """Yield what became of so many lines, in whose place so many others stand."""
    for number in range(at, at + min(foreign, missing)):
        yield Finding(number, "changed", "is not as it was written")
    for number in range(at + missing, at + foreign):
        yield Finding(number, "added", "was not written by swathe, or not with this key")
    if missing > foreign:
        yield Finding(at, "left out", f"{missing - foreign} lines before it are not there")


def _named_line(path: Path) -> Head | None:
    """Return the line that a run record names; None where it names none."""
    try:
        named = from_json(path.read_bytes())["audit"]
        return Head(int(named["number"]), str(named["hash"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
