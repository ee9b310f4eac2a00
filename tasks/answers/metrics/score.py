"""A number, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

BOTH_EMPTY = "neither mask holds the class"
NOT_PREDICTED = "only the reference holds the class"
NOT_IN_REFERENCE = "only the prediction holds the class"


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one class.

    Attributes:
        value: Finite; None where the metric is not defined.
        reason: Why it is not; empty where it is.
    """

    value: float | None
    reason: str = ""


# Keys carry convention and unit: hd95_mm[surface-distance].
Scores: TypeAlias = dict[str, Score]


def ratio(part: float, whole: float, reason: str) -> Score:
    """Return ``part / whole``, or no number and the reason where ``whole`` is 0."""
    return Score(part / whole) if whole else Score(None, reason)


def missing(keys: Iterable[str], reason: str) -> Scores:
    """Return every key without a number, all for one reason."""
    return {key: Score(None, reason) for key in keys}


def as_json(scores: Mapping[str, Score]) -> dict[str, dict[str, float | str | None]]:
    """Return scores as JSON says them: ``value`` is null with a ``reason`` where there is no number."""
    return {
        key: {"value": score.value} if score.value is not None else {"value": None, "reason": score.reason}
        for key, score in scores.items()
    }
