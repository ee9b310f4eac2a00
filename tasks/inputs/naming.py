"""Names of scenes: what a file pattern matches, what an id may look like, and the date in it."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from glob import escape
from pathlib import Path

from tasks.errors import JobError, SceneError
from tasks.scenes.usual_names import usual_name

# Where a name carries its date when nobody says otherwise.
USUAL_DATES = {"post": "{scene:%Y%m%d}"}
_PLACEHOLDER = "{scene}"
_COMPOUND_SUFFIXES = (".nii.gz", ".tar.gz")
_DATE_FIELD = re.compile(r"\{scene:([^}]+)\}")
_DIGITS = {"%Y": 4, "%m": 2, "%d": 2, "%j": 3, "%H": 2, "%M": 2, "%S": 2, "%y": 2}
# What OUT holds beside the scenes: with the ledger lie, for a while, files of SQLite's.
FIRES, PATIENTS, NIGHTS = "fires", "patients", "nights"
AUDIT, FREED, WORKLIST = "audit.jsonl", "deidentified.csv", "worklist.csv"
LEDGER = "state.sqlite"
LEDGER_FILES = tuple(f"{LEDGER}{suffix}" for suffix in ("", "-journal", "-wal", "-shm"))
# File systems take 255, and files of a run are called after scenes.
_LONGEST_ID_BYTES = 200
RESERVED = frozenset(
    ("batch.csv", "batch.json", "index.html", AUDIT, FREED, WORKLIST, *LEDGER_FILES, FIRES, PATIENTS, NIGHTS)
)


@dataclass(frozen=True)
class Pattern:
    """A file name relative to a folder, in which ``{scene}`` is the scene's id and ``*`` any text.

    Attributes:
        text: Such as ``post_fire/{scene}.tif``.
    """

    text: str

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        pieces = []
        seen = False
        for token in re.split(r"(\{scene\}|\*)", self.text.removeprefix("./")):
            if token == _PLACEHOLDER:
                pieces.append("(?P=scene)" if seen else "(?P<scene>[^/]+?)")
                seen = True
            else:
                pieces.append("[^/]*" if token == "*" else re.escape(token))
        if not seen:
            raise JobError(f"source.files: pattern '{self.text}' has no {{scene}}, so scenes cannot be told apart")
        return re.compile("".join(pieces) + "$")

    @property
    def depth(self) -> int:
        """Folders between the input folder and the file."""
        return self.text.removeprefix("./").count("/")

    def scene_of(self, relative: str) -> str | None:
        """Return the scene's id in a path relative to the input folder, or None where it does not match."""
        match = self._regex.fullmatch(relative)
        return match["scene"] if match else None

    def find_all(self, folder: Path) -> dict[str, list[Path]]:
        """Return the files below ``folder`` that match, by scene."""
        found: dict[str, list[Path]] = {}
        for path in self._glob(folder, "*"):
            relative = path.relative_to(folder)
            scene = self.scene_of(relative.as_posix())
            hidden = any(part.startswith(".") for part in relative.parts) and not self._names_hidden
            if scene is not None and not hidden and path.is_file():
                found.setdefault(scene, []).append(path)
        return found

    def alike(self, folder: Path) -> Iterator[Path]:
        """Yield the files below ``folder`` that would match if letters had no case."""
        regex = re.compile(self._regex.pattern, re.IGNORECASE)
        for path in sorted(folder.glob("/".join(["*"] * (self.depth + 1)))):
            if regex.fullmatch(path.relative_to(folder).as_posix()) and path.is_file():
                yield path

    @property
    def _names_hidden(self) -> bool:
        """Whether files that a system hides are wanted: macOS lays ``._a.tif`` beside every ``a.tif``."""
        return any(part.startswith(".") for part in self.text.removeprefix("./").split("/"))

    def find(self, folder: Path, scene: str) -> list[Path]:
        """Return the files of one scene below ``folder``."""
        found = self._glob(folder, escape(scene))
        return [path for path in found if self.scene_of(path.relative_to(folder).as_posix()) == scene]

    def _glob(self, folder: Path, scene: str) -> list[Path]:
        return sorted(folder.glob(self.text.removeprefix("./").replace(_PLACEHOLDER, scene)))

    def split(self, path: Path) -> tuple[Path, str] | None:
        """Return the input folder and the scene of a file, or None where it does not match."""
        if len(path.parts) <= self.depth:
            return None
        folder = path.parents[self.depth]
        scene = self.scene_of(path.relative_to(folder).as_posix())
        return None if scene is None else (folder, scene)


def stem_of(path: str) -> str:
    """Return a file's name without its suffix, ``.nii.gz`` being one."""
    # Behind the question mark of a URL stands no name; in that of a file it is a letter like any other.
    bare = path.split("?", 1)[0] if "://" in path or path.startswith("/vsi") else path
    name = re.split(r"[/\\]", bare.rstrip("/\\"))[-1]
    for suffix in _COMPOUND_SUFFIXES:
        if name.casefold().endswith(suffix):
            return name[: -len(suffix)]
    return name.rsplit(".", 1)[0] or name


def scene_id(name: str) -> str:
    """Return a name as a scene's id: composed (NFC), and ``_`` for all but letters and digits of any script and ``.-``.

    Of a name too long for what a run calls after it the end is a hash of it.

    Raises:
        SceneError: When the name holds a path or is one that a run keeps for itself.
    """
    if "/" in name or "\\" in name or name in ("", ".", ".."):
        raise SceneError(f"'{name}': not a scene id; use letters, digits, '.', '_' and '-'")
    identifier = _shortened(lettered(name).lstrip(".-") or "scene")
    # File systems of other programs tell no capitals from small letters.
    if identifier.casefold() in RESERVED:
        raise SceneError(f"'{name}': a scene cannot be called so; the output folder holds a file of that name")
    return identifier


def _shortened(identifier: str) -> str:
    stored = identifier.encode(errors="surrogateescape")
    if len(stored) <= _LONGEST_ID_BYTES:
        return identifier
    digest = hashlib.sha256(stored).hexdigest()[:8]
    return f"{stored[: _LONGEST_ID_BYTES - len(digest) - 1].decode(errors='ignore')}-{digest}"


def lettered(name: str) -> str:
    """Put ``_`` for what is neither letter, nor mark on one, nor digit: spaces, signs, controls."""
    composed = unicodedata.normalize("NFC", name)
    return "".join(c if c in "._-" or unicodedata.category(c)[0] in "LMN" else "_" for c in composed)


def date_of(name: str, pattern: str) -> str | None:
    """Return the ISO date that a scene's id carries.

    Args:
        name: The scene's id, such as ``CAMPBELL_20241028``.
        pattern: Such as ``{scene:%Y%m%d}``, with text around it where that helps to find the date.

    Raises:
        JobError: When the pattern has no date in it.
    """
    field = _DATE_FIELD.search(pattern)
    if field is None:
        raise JobError(f"source.dates: '{pattern}' names no date; write it like {{scene:%Y%m%d}}")
    layout = field[1]
    expression = re.sub(r"%(.)", _digits, re.escape(layout).replace(r"\%", "%"))
    before, after = re.escape(pattern[: field.start()]), re.escape(pattern[field.end() :])
    for match in re.finditer(rf"(?<!\d){before}({expression}){after}(?!\d)", name):
        try:
            return datetime.strptime(match[1], layout).date().isoformat()
        except ValueError:
            continue
    return None


def first_date(name: str, patterns: Mapping[str, str]) -> str | None:
    """Return the ISO date of a scene by its id: of the first pattern that finds one, else of a provider's name."""
    return next(iter(dates_of(name, patterns).values()), None)


def dates_of(name: str, patterns: Mapping[str, str]) -> dict[str, str]:
    """Return the ISO dates that a scene's id carries, by role; roles whose pattern finds none are left out.

    Where none finds any, the name that a provider gave tells the date of its picture, ``post``.
    """
    found = {role: date_of(name, pattern) for role, pattern in patterns.items()}
    known = {role: date for role, date in found.items() if date is not None}
    usual = None if known else usual_name(name)
    return known if usual is None else {"post": usual.date}


def site_of(name: str, patterns: Mapping[str, str]) -> str:
    """Return what all observations of one place have in common: the site in a name that a provider gave.

    Of any other id it is what is left without the dates.
    """
    usual = usual_name(name)
    if usual is not None:
        return usual.site
    site = name
    for pattern in patterns.values():
        date = date_of(name, pattern)
        field = _DATE_FIELD.search(pattern)
        if date is not None and field is not None:
            site = site.replace(datetime.fromisoformat(date).strftime(field[1]), "")
    return site.strip("._-") or name


def site_in(name: str, expression: str) -> str | None:
    """Return what the first group of a regular expression finds in a scene's id; None where it finds nothing."""
    match = re.search(expression, name)
    return (match[1] or None) if match else None


def observation_id(site: str, date: str) -> str:
    """Return the id of what was observed of a site on a day, whatever file it is in.

    Args:
        site: Its name; characters that ids do not have become ``_``.
        date: ISO.

    Raises:
        SceneError: When no scene can be called so.
    """
    return scene_id(f"{lettered(site)}_{date.replace('-', '')}")


def _digits(match: re.Match[str]) -> str:
    try:
        return rf"\d{{{_DIGITS[match[0]]}}}"
    except KeyError as error:
        raise JobError(f"source.dates: '{match[0]}' is not known; known: {', '.join(_DIGITS)}") from error
