"""The rules as data: what the profile says of an attribute, and what a SOP class defines."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from tasks.jobs.deidentify import Option

_HERE = Path(__file__).parent

# Columns of Table E.1-1 by the options that a job names.
_COLUMNS: Mapping[Option, str] = {
    "clean-descriptors": "descriptors",
    "clean-structured-content": "structured",
    "modified-dates": "modified_dates",
    "patient-characteristics": "patient",
    "device": "device",
    "safe-private": "safe_private",
}
_PRIVATE = "PRIVATE"
_CURVES = range(0x5000, 0x5100)
_OVERLAYS = range(0x6000, 0x6100)


class Action(StrEnum):
    """What becomes of an attribute, in the letters of PS3.15."""

    REMOVE = "X"
    EMPTY = "Z"
    DUMMY = "D"
    UID = "U"
    KEEP = "K"
    CLEAN = "C"
    SHIFT = "S"


# What an attribute may be depends on whether its module requires it; what holds in every module goes before.
_BASIC: Mapping[str, Action] = {
    "X": Action.REMOVE,
    "Z": Action.EMPTY,
    "D": Action.DUMMY,
    "U": Action.UID,
    "X/Z": Action.EMPTY,
    "X/D": Action.DUMMY,
    "Z/D": Action.DUMMY,
    "X/Z/D": Action.DUMMY,
    "X/Z/U*": Action.UID,
}


@dataclass(frozen=True)
class Row:
    """One row of PS3.15 Table E.1-1.

    Attributes:
        tag: Eight hexadecimal digits, ``XX`` for repeating groups, or ``PRIVATE``.
        name: Of the attribute.
        vr: Its value representation, where pydicom does not know the attribute yet.
        basic: Action codes of the basic profile, such as ``X/Z/D``.
        options: ``K`` or ``C`` by the names of the columns.
    """

    tag: str
    name: str
    vr: str
    basic: str
    options: Mapping[str, str]


@dataclass(frozen=True)
class SafePrivate:
    """A private attribute that PS3.15 Table E.3.10-1 calls safe, or that decay correction or mosaics need.

    Attributes:
        group: Odd.
        element: Its last two digits, within the block of its creator.
        creator: Who reserved the block.
        vr: Its value representation, whatever the file calls it.
    """

    group: int
    element: int
    creator: str
    vr: str


@cache
def profile() -> Mapping[str, Row]:
    """Return Table E.1-1 by tag."""
    rows = (
        Row(
            tag=row["tag"],
            name=row["name"],
            vr=row["vr"],
            basic=row["basic"],
            options=dict(mark.split("=") for mark in row["options"].split()),
        )
        for row in _table("profile.csv")
    )
    return {row.tag: row for row in rows}


@cache
def safe_private() -> Mapping[tuple[int, int, str], SafePrivate]:
    """Return the private attributes that may stay, by group, last two digits and creator."""
    rows = (
        SafePrivate(int(row["group"], 16), int(row["element"], 16), row["creator"], row["vr"])
        for row in _table("safe_private.csv")
    )
    return {(row.group, row.element, row.creator): row for row in rows}


def _table(name: str) -> Iterator[dict[str, str]]:
    with (_HERE / name).open(encoding="utf-8") as file:
        yield from csv.DictReader(line for line in file if not line.startswith("#"))


@dataclass(frozen=True)
class Classes:
    """Which attributes each SOP class defines, at any depth of its modules (PS3.3, PS3.4)."""

    iods: Mapping[str, str]
    modules: Mapping[str, tuple[str, ...]]
    attributes: Mapping[str, frozenset[int]]

    def defined(self, sop_class: str) -> frozenset[int] | None:
        """Return the tags that a SOP class defines; None where it is not one that stores what belongs to a patient."""
        iod = self.iods.get(sop_class)
        return None if iod is None else _defined_by(self, iod)

    def __hash__(self) -> int:
        return id(self)


@cache
def _defined_by(classes: Classes, iod: str) -> frozenset[int]:
    return frozenset().union(*(classes.attributes[module] for module in classes.modules[iod]))


@cache
def classes() -> Classes:
    """Return the SOP classes of the standard."""
    raw = json.loads((_HERE / "attributes.json").read_text(encoding="utf-8"))
    return Classes(
        iods=raw["sop_classes"],
        modules={iod: tuple(modules.split()) for iod, modules in raw["iods"].items()},
        attributes={module: frozenset(int(tag, 16) for tag in tags.split()) for module, tags in raw["modules"].items()},
    )


@dataclass(frozen=True)
class Rules:
    """What becomes of each attribute of one SOP class, with the options of a job.

    Attributes:
        options: That the job names.
        defined: Tags that the SOP class defines.
    """

    options: frozenset[str]
    defined: Collection[int]

    def action(self, tag: int) -> Action | None:
        """Return what the profile says of a standard attribute; None where it does not name it."""
        row = self._row(tag)
        if row is None:
            return None
        marks = {row.options[_COLUMNS[option]] for option in _COLUMNS if self._applies(option, row)}
        if "modified_dates" in row.options and "modified-dates" in self.options:
            return Action.SHIFT
        if "K" in marks:
            return Action.KEEP
        return Action.CLEAN if "C" in marks else _BASIC[row.basic]

    def fallback(self, tag: int) -> Action:
        """Return what becomes of an attribute of which nothing is left once it is cleaned."""
        row = self._row(tag)
        return Action.EMPTY if row is None else _BASIC[row.basic]

    def describes(self, tag: int) -> bool:
        """Tell whether an attribute describes in free words, which say nothing of a person by themselves."""
        row = self._row(tag)
        return row is not None and "descriptors" in row.options

    def _applies(self, option: Option, row: Row) -> bool:
        return option in self.options and _COLUMNS[option] in row.options

    @staticmethod
    def _row(tag: int) -> Row | None:
        group = tag >> 16
        if group % 2:
            return profile()[_PRIVATE]
        if group in _CURVES:
            return profile()["50XXXXXX"]
        if group in _OVERLAYS:
            # A plane without its data is no plane: all of the group goes with it.
            return profile()["60XX3000"]
        return profile().get(f"{tag:08X}")
