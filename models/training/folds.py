"""Which scenes are left out of a fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def k_folds(names: Sequence[str], k: int, seed: int) -> tuple[tuple[str, ...], ...]:
    """Split names into ``k`` disjoint folds whose sizes differ by one at most, whatever order they come in.

    Raises:
        ValueError: When there are fewer names than folds, or fewer folds than two.
    """
    if not 2 <= k <= len(names):
        raise ValueError(f"{len(names)} scenes cannot be split into {k} folds; take 2 to {len(names)}")
    shuffled = _shuffled(names, seed)
    return tuple(tuple(sorted(shuffled[start::k])) for start in range(k))


def share_of(names: Sequence[str], share: float, seed: int) -> tuple[str, ...]:
    """Return about a share of names, one at least and never all, whatever order they come in.

    Raises:
        ValueError: When there are fewer than two.
    """
    if len(names) < 2:
        raise ValueError("of one scene no part can be watched beside the fit: give more, or no settings.patience")
    taken = min(len(names) - 1, max(1, round(share * len(names))))
    return tuple(sorted(_shuffled(names, seed)[:taken]))


def _shuffled(names: Sequence[str], seed: int) -> list[str]:
    ordered = sorted(names)
    return [ordered[index] for index in np.random.default_rng(seed).permutation(len(ordered))]
