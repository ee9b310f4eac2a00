"""Which scenes of a batch to look at first: failed ones, then those whose numbers stand far from the others'."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from tasks.out.outcome import SceneOutcome

# Iglewicz and Hoaglin, How to Detect and Handle Outliers (ASQC, 1993): the constant that makes the median absolute
# deviation a standard deviation of normal data, and the modified z-score from which a value is called an outlier.
_NORMAL_MAD = 0.6745
CUTOFF = 3.5
# The same for the mean absolute deviation, which stands in where more than half of the values are one.
_NORMAL_MEAN = 1.253314
# Of fewer scenes no number can be told to be far from the others.
FEWEST = 5
# Closer to the median than this share of it is noise, however well the others agree.
_NOISE = 0.01


@dataclass(frozen=True)
class Ranked:
    """A scene in the order of a reader's interest.

    Attributes:
        outcome: How it ended.
        outlying: Robust z-scores of the headline numbers that are outliers, by name.
    """

    outcome: SceneOutcome
    outlying: Mapping[str, float]


def ranked(outcomes: Sequence[SceneOutcome]) -> list[Ranked]:
    """Return failed scenes, then outliers, the farthest first, then the others by their ids."""
    scores: dict[str, dict[str, float]] = {outcome.scene: {} for outcome in outcomes}
    for name in dict.fromkeys(name for outcome in outcomes for name in outcome.headline):
        values = {o.scene: float(o.headline[name]) for o in outcomes if _is_number(o.headline.get(name))}
        for scene, score in zip(values, robust_z(list(values.values())), strict=True):
            if abs(score) >= CUTOFF:
                scores[scene][name] = score
    found = [Ranked(outcome, scores[outcome.scene]) for outcome in outcomes]
    return sorted(found, key=_interest)


def robust_z(values: Sequence[float]) -> list[float]:
    """Return how many robust standard deviations each value lies from the median.

    Zero for all of fewer than five values, and for a value within one percent of the median. Where the median absolute
    deviation is zero, the mean absolute deviation takes its place (Iglewicz and Hoaglin 1993).
    """
    if len(values) < FEWEST:
        return [0.0] * len(values)
    middle = median(values)
    deviations = [abs(value - middle) for value in values]
    spread = median(deviations) / _NORMAL_MAD or _NORMAL_MEAN * math.fsum(deviations) / len(deviations)
    if spread == 0.0:
        # All are equal, or differ by less than a float can divide by.
        return [0.0] * len(values)
    noise = _NOISE * abs(middle)
    return [(value - middle) / spread if abs(value - middle) > noise else 0.0 for value in values]


def _is_number(value: Any) -> bool:  # noqa: ANN401 - anything that JSON can say
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _interest(found: Ranked) -> tuple[bool, float, str]:
    farthest = max(map(abs, found.outlying.values()), default=0.0)
    return found.outcome.status != "failed", -farthest, found.outcome.scene
