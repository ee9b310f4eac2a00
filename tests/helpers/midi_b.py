"""The ten actions by which MIDI-B scores de-identification (arXiv 2507.23608), on files that are there or are not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

# Of nltk's list of English stop words those that occur in descriptions.
STOP_WORDS = frozenset(
    ("a", "an", "and", "at", "by", "for", "from", "in", "is", "it", "of", "on", "or", "the", "to", "was", "with")
)


@dataclass
class Score:
    """How many actions were done, and which were not."""

    passed: float = 0.0
    asked: int = 0
    failures: list[str] = field(default_factory=list)
    by_action: Counter[str] = field(default_factory=Counter)

    @property
    def share(self) -> float:
        return self.passed / self.asked

    def add(self, action: str, what: str, share: float) -> None:
        self.asked += 1
        self.passed += share
        self.by_action[action] += 1
        if share < 1:
            self.failures.append(f"{action}: {what}")


def tokens(text: str) -> set[str]:
    """Return the words of a text, less those that stand in every text."""
    return {word for word in re.findall(r"\w+", text.casefold()) if word not in STOP_WORDS}


def tag_retained(value: str | None, was: str) -> float:
    del was
    return float(value is not None)


def text_notnull(value: str | None, was: str) -> float:
    del was
    return float(bool(value))


def text_retained(value: str | None, was: str) -> float:
    """Share of the words that are still there; numbers are compared as numbers."""
    if value is None:
        return 0.0
    try:
        return float(float(value) == float(was))
    except ValueError:
        wanted = tokens(was)
        return 1.0 if not wanted else len(wanted & tokens(value)) / len(wanted)


def text_removed(value: str | None, was: str) -> float:
    """Share of the words that are gone."""
    unwanted = tokens(was)
    if value is None or not unwanted:
        return 1.0
    return len(unwanted - tokens(value)) / len(unwanted)


def uid_changed(value: str | None, was: str) -> float:
    return float(value is None or (value != was and value != ""))


def date_shifted(value: str | None, was: str, days: int) -> float:
    """Whether a date moved by what its patient's dates move by."""
    if value is None:
        return 1.0
    if not value:
        return 0.0
    moved = datetime.strptime(value[:8], "%Y%m%d") - datetime.strptime(was[:8], "%Y%m%d")
    return float(moved.days == days != 0 and value[8:] == was[8:])


class Consistent:
    """Whether the same always became the same, and others something else: ``uid_consistent``, ``patid_consistent``."""

    def __init__(self) -> None:
        self._new: dict[str, str] = {}
        self._old: dict[str, str] = {}

    def __call__(self, value: str | None, was: str) -> float:
        if value is None:
            return 1.0
        return float(self._new.setdefault(was, value) == value and self._old.setdefault(value, was) == was)


Action = Callable[[str | None, str], float]
