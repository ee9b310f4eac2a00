"""Cross-validation: every scene is scored by a network that has not seen it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.card import Card
from models.training.fit import fit
from models.training.settings import FitResult, Progress, Sample, TrainSettings


@dataclass(frozen=True)
class FoldScores:
    """What cross-validation found.

    Attributes:
        dice: Of every scene, held out.
        baseline: Of the simple method on the same scenes; empty without one.
        folds: The fit of every fold.
    """

    dice: dict[str, float]
    baseline: dict[str, float]
    folds: tuple[FitResult, ...]


def k_folds(names: Sequence[str], k: int, seed: int) -> tuple[tuple[str, ...], ...]:
    """Split names into ``k`` disjoint folds whose sizes differ by one at most, whatever order they come in.

    Raises:
        ValueError: When there are fewer names than folds, or fewer folds than two.
    """
    if not 2 <= k <= len(names):
        raise ValueError(f"{len(names)} scenes cannot be split into {k} folds; take 2 to {len(names)}")
    ordered = sorted(names)
    shuffled = [ordered[index] for index in np.random.default_rng(seed).permutation(len(ordered))]
    return tuple(tuple(sorted(shuffled[start::k])) for start in range(k))


def cross_validate(
    samples: Sequence[Sample],
    card: Card,
    settings: TrainSettings,
    k: int,
    baseline: Callable[[Sample], float] | None = None,
    progress: Progress | None = None,
) -> FoldScores:
    """Fit ``k`` times, each time on all folds but one, and score on that one.

    Args:
        samples: All scenes.
        card: As for ``fit``.
        settings: As for ``fit``; its seed also shuffles the folds.
        k: Folds.
        baseline: Dice of a simple method on one sample.
        progress: As for ``fit``; starts again with every fold.
    """
    dice: dict[str, float] = {}
    fits = []
    for held_out in k_folds([sample.name for sample in samples], k, settings.seed):
        train = [sample for sample in samples if sample.name not in held_out]
        valid = [sample for sample in samples if sample.name in held_out]
        fits.append(fit(train, valid, card=card, settings=settings, progress=progress))
        dice |= fits[-1].scores
    simple = {sample.name: baseline(sample) for sample in samples} if baseline else {}
    return FoldScores(dice, simple, tuple(fits))


def summary(scores: dict[str, float], name: str) -> dict[str, float]:
    """Return mean, standard deviation, median, minimum and number of ``scores``; their names start with ``name``."""
    values: NDArray[np.float64] = np.array(list(scores.values()))
    return {
        f"{name}_mean": round(float(values.mean()), 4),
        f"{name}_std": round(float(values.std()), 4),
        f"{name}_median": round(float(np.median(values)), 4),
        f"{name}_min": round(float(values.min()), 4),
        f"{name}_n": float(len(values)),
    }
