"""How a fit scores on scenes: Dice per class, the mean of the classes, and whether it tells classes apart at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.answers.metrics.interval import mean_interval
from tasks.errors import FitError

_NOT_OBSERVED = 255


@dataclass(frozen=True)
class DiceScores:
    """Figures of several scenes: mean, standard deviation, median, lowest, number, and an interval of the mean.

    Attributes:
        mean: Of each scene's mean over the classes but the first.
        by_class: The same of each of these classes, by its name.
    """

    mean: dict[str, float]
    by_class: dict[str, dict[str, float]]


class Overlaps:
    """Counts, window by window, how a mask and its reference agree on each class but the first.

    Args:
        n_classes: With the first.
    """

    def __init__(self, n_classes: int) -> None:
        self._counts = np.zeros((3, n_classes - 1), np.int64)

    def look_at(self, predicted: NDArray[np.integer[Any]], reference: NDArray[np.integer[Any]]) -> None:
        """Take in a window.

        Args:
            predicted: Class numbers; 255 is left out.
            reference: Class numbers; negative ones are left out.
        """
        counted = (predicted != _NOT_OBSERVED) & (reference >= 0)
        for place in range(self._counts.shape[1]):
            found, labelled = (predicted == place + 1) & counted, (reference == place + 1) & counted
            self._counts[:, place] += [int(np.count_nonzero(part)) for part in (found, labelled, found & labelled)]

    @property
    def dice(self) -> NDArray[np.float64]:
        """Of every class but the first; NaN for a class that is in neither mask."""
        found, labelled, both = self._counts
        with np.errstate(invalid="ignore"):
            shares: NDArray[np.float64] = 2 * both / (found + labelled)
        return shares


def summarise(scores: Mapping[str, NDArray[np.float64]], classes: Sequence[str]) -> DiceScores:
    """Return what the scores of several scenes have in common.

    Args:
        scores: Of each scene the Dice of these classes.
        classes: Names of these classes.
    """
    rows = np.stack(list(scores.values()))
    seen = rows[~np.isnan(rows).all(axis=1)]
    columns = zip(classes, rows.T, strict=True)
    return DiceScores(
        _statistics(np.nanmean(seen, axis=1)),
        {name: _statistics(column[~np.isnan(column)]) for name, column in columns},
    )


def _statistics(values: NDArray[np.float64]) -> dict[str, float]:
    if not len(values):
        return {"dice_n": 0.0}
    found = {
        "dice_mean": values.mean(),
        "dice_std": values.std(),
        "dice_median": np.median(values),
        "dice_min": values.min(),
    }
    interval = mean_interval(values)
    if interval is not None:
        found["dice_low"], found["dice_high"] = interval
    return {name: round(float(value), 4) for name, value in found.items()} | {"dice_n": float(len(values))}


class Collapse:
    """Looks over the masks of one fit for classes that its labels hold and that it never finds.

    Args:
        model: Its name, for the message.
        classes: Names of all classes.
    """

    def __init__(self, model: str, classes: Sequence[str]) -> None:
        self._model, self._classes = model, classes
        self._labelled: set[int] = set()
        self._predicted: set[int] = set()

    def look_at(self, predicted: NDArray[np.integer[Any]], reference: NDArray[np.integer[Any]]) -> None:
        """Take in a window; arguments as of ``Overlaps``."""
        counted = (predicted != _NOT_OBSERVED) & (reference >= 0)
        self._labelled |= _held(reference[counted])
        self._predicted |= _held(predicted[counted])

    def refuse(self, scenes: str) -> None:
        """Raise where a class is missing.

        Args:
            scenes: Which ones were looked at, for the message.

        Raises:
            FitError: When every pixel has one class though the labels hold more, or a labelled class never occurs.
        """
        missing = self._labelled - self._predicted
        if not missing:
            return
        found = f"every pixel of {scenes} is {self._named(self._predicted)}" if len(self._predicted) == 1 else ""
        raise FitError(
            f"{self._model}: {found or f'{self._named(missing)} is never found in {scenes}'}, but the labels hold "
            f"{self._named(self._labelled)}. Nothing is written. Give more settings.steps, another "
            "settings.learning_rate, a larger settings.foreground for what is rare, or see whether the labels are right"
        )

    def _named(self, numbers: Iterable[int]) -> str:
        return ", ".join(repr(self._classes[number]) for number in sorted(numbers))


def _held(numbers: NDArray[np.integer[Any]]) -> set[int]:
    return {int(number) for number in np.unique(numbers)}
