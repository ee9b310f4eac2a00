"""Whether anything that names a patient lies below a folder: bytes, text in every character set, names of files.

It knows nothing of the de-identifier and shares nothing with it: a list of what must not be found is all it has.
"""

from __future__ import annotations

import base64
import gzip
import shutil
import sqlite3
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Those that DICOM knows (PS3.3 C.12.1.1.2), and those that programs write.
ENCODINGS = (
    "utf-8", "utf-16-le", "utf-16-be", "latin-1", "iso8859-2", "iso8859-3", "iso8859-4", "iso8859-5", "iso8859-6",
    "iso8859-7", "iso8859-8", "iso8859-9", "iso8859-15", "tis-620", "shift_jis", "euc_jp", "iso2022_jp", "iso2022_jp_2",
    "iso2022_jp_ext", "euc_kr", "iso2022_kr", "gb18030", "gbk", "cp1252", "cp437",
)  # fmt: skip
_SHORTEST = 3
# Shorter ones stand in base64 and hexadecimal digits by chance.
_LONG = 6


@dataclass(frozen=True)
class Found:
    """A place where something was found."""

    token: str
    where: str


class Wanted:
    """Every way of writing every token, found in one pass over some bytes."""

    def __init__(self, tokens: Iterable[str]) -> None:
        self._folded: dict[int, list[tuple[bytes, str]]] = {}
        self._exact: dict[int, list[tuple[bytes, str]]] = {}
        for text in dict.fromkeys(tokens):
            folded, exact = _written(text)
            for codes, known in ((folded, self._folded), (exact, self._exact)):
                for code in codes:
                    known.setdefault(_window(code), []).append((code, text))
        self._windows = [np.array(sorted(known), np.uint32) for known in (self._folded, self._exact)]

    def within(self, data: bytes, where: str) -> list[Found]:
        """Return which tokens stand in some bytes."""
        found: dict[str, Found] = {}
        for view, known, windows in zip((data.lower(), data), (self._folded, self._exact), self._windows, strict=True):
            for at in _places(view, windows):
                for code, text in known[_window(view[at : at + 4])]:
                    if text not in found and view.startswith(code, at):
                        found[text] = Found(text, where)
        return list(found.values())


def _window(code: bytes) -> int:
    """Return the first three bytes as a number."""
    return int.from_bytes(code[:_SHORTEST])


def _places(data: bytes, windows: NDArray[np.uint32]) -> list[int]:
    codes = np.frombuffer(data, np.uint8).astype(np.uint32)
    if codes.size < _SHORTEST or not windows.size:
        return []
    here = (codes[:-2] << 16) | (codes[1:-1] << 8) | codes[2:]
    return np.flatnonzero(np.isin(here, windows, kind="table")).tolist()


def _written(text: str) -> tuple[set[bytes], set[bytes]]:
    """Return what a token may be in bytes: without regard to case where it is ASCII, and as it is elsewhere."""
    folded: set[bytes] = set()
    exact: set[bytes] = set()
    for form in _forms(text):
        for encoding in ENCODINGS:
            try:
                data = form.encode(encoding)
            except UnicodeEncodeError:
                continue
            (folded if form.isascii() else exact).add(data.lower() if form.isascii() else data)
            exact.add(_without_escapes(data))
        if len(form) >= _LONG:
            exact |= {*_base64s(form.encode()), form.encode().hex().encode()}
    return folded, {data for data in exact if len(data) >= _SHORTEST}


def _forms(text: str) -> set[str]:
    """Return text as it may be written: in any case, percent-encoded by nobody, dates with dots and dashes."""
    forms = {text, text.upper(), text.lower(), text.title()}
    if len(text) == 8 and text.isdigit():
        year, month, day = text[:4], text[4:6], text[6:]
        forms |= {f"{year}-{month}-{day}", f"{day}.{month}.{year}", f"{month}/{day}/{year}", f"{year}.{month}.{day}"}
    return {form for form in forms if len(form.encode()) >= _SHORTEST}


def _without_escapes(data: bytes) -> bytes:
    """Return ISO 2022 text between its first and last escape sequence, as it stands within other text."""
    parts = [part for part in data.split(b"\x1b") if part]
    return max((part[2:] if data.startswith(b"\x1b") else part for part in parts), key=len, default=data)


def _base64s(data: bytes) -> set[bytes]:
    """Return what stays the same of some bytes in base64, wherever they begin in a longer text."""
    found = set()
    for lead in range(3):
        code = base64.b64encode(b"\0" * lead + data + b"\0" * (-(lead + len(data)) % 3))
        start, end = -(-lead * 4 // 3), len(code) - (4 if (lead + len(data)) % 3 else 0)
        found.add(code[start + (1 if lead else 0) : end])
    return {code for code in found if len(code) >= 7}


def search(folder: Path, tokens: Iterable[str]) -> list[Found]:
    """Return every place below a folder where one of the tokens stands."""
    wanted = Wanted(tokens)
    found: list[Found] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        found += wanted.within(name.encode("utf-8", "surrogateescape"), f"the name {name}")
        if path.is_symlink():
            found += wanted.within(str(path.readlink()).encode(), f"the link {name}")
        elif path.is_file():
            for part, data in _contents(name, path.read_bytes()):
                found += wanted.within(data, part)
            if Path(f"{path}-wal").exists():
                found += wanted.within(_with_its_log(path), f"{name} (SQL with its log)")
    return found


def search_text(text: str | bytes, tokens: Iterable[str], where: str) -> list[Found]:
    """Return which of the tokens stand in what a program said."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    return Wanted(tokens).within(data, where)


def _contents(name: str, data: bytes, depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield a file's bytes, and those of what is packed in it."""
    yield name, data
    if depth > 2:
        return
    if data.startswith(b"\x1f\x8b"):
        yield from _contents(f"{name} (gzip)", gzip.decompress(data), depth + 1)
    elif data.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(BytesIO(data)) as archive:
            for member in archive.namelist():
                yield from _contents(f"{name} ({member})", archive.read(member), depth + 1)
    elif data.startswith(b"SQLite format 3\0"):
        with sqlite3.connect(":memory:") as connection:
            # Whether a log lies beside it: one in memory has none.
            connection.deserialize(data[:18] + b"\1\1" + data[20:])
            yield f"{name} (SQL)", "\n".join(connection.iterdump()).encode("utf-8", "surrogateescape")
    elif data[128:132] == b"DICM":
        yield from _inflated(name, data)


def _with_its_log(path: Path) -> bytes:
    """Return what a database says together with what is not written into it yet."""
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", folder)
        with closing(sqlite3.connect(Path(folder, path.name))) as connection:
            return "\n".join(connection.iterdump()).encode("utf-8", "surrogateescape")


def _inflated(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield a deflated data set as it is read: from behind the file meta, whose length stands at its beginning."""
    if b"1.2.840.10008.1.2.1.99" in data[:1024]:
        start = 144 + int.from_bytes(data[140:144], "little")
        yield f"{name} (inflated)", zlib.decompress(data[start:], -zlib.MAX_WBITS)
