"""Cross-validation: every scene is scored by a network that has not seen it."""

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
    ordered = sorted(names)
    shuffled = [ordered[index] for index in np.random.default_rng(seed).permutation(len(ordered))]
    return tuple(tuple(sorted(shuffled[start::k])) for start in range(k))
