"""Ids of objects in a prediction and its reference, read on the reference's grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

from tasks.answers.metrics.pair import Labels, MaskPair
from tasks.errors import SceneError
from tasks.geometry.box import Box
from tasks.pairs.labels import LabelRules

ReadIds: TypeAlias = Callable[[Box], tuple[Labels, Labels]]
# What swathe writes where nothing was observed; volumes are read as float32, which rounds it.
_NOT_OBSERVED = int(np.iinfo(np.uint32).max)
# Float32 tells no further ids apart.
_MOST_OF_VOLUMES = 1 << 24


class Opened(Protocol):
    """``opened_raster_pair`` or ``opened_volume_pair``."""

    def __call__(
        self, pair_id: str, paths: tuple[Path, Path], rules: tuple[LabelRules, LabelRules], *, resample: bool
    ) -> AbstractContextManager[MaskPair]:
        """Open a pair of files."""
        ...


@contextmanager
def opened_ids(
    opened: Opened, pair_id: str, ids: tuple[Path, Path], reference: Path, *, resample: bool
) -> Iterator[ReadIds]:
    """Open the ids of both sides; those of the reference lie on the grid of its mask.

    Args:
        opened: Opens a pair of files of the kind.
        pair_id: What the pair is called.
        ids: Of prediction and reference.
        reference: The mask of the reference.
        resample: As of ``opened_pair``.

    Raises:
        GridError: When a file lies on another grid.
    """
    rules = tuple(LabelRules(str(path), (_NOT_OBSERVED,)) for path in ids)
    # Nothing is read of it: opening compares the grids.
    with opened(pair_id, (ids[1], reference), (rules[1], rules[1]), resample=False):
        pass
    with opened(pair_id, ids, (rules[0], rules[1]), resample=resample) as pair:
        is_volume = len(pair.shape) > 2

        def read(box: Box) -> tuple[Labels, Labels]:
            window = pair.read(box)
            for path, values in zip(ids, (window.predicted, window.reference), strict=True):
                if is_volume and values.max(initial=0) >= _MOST_OF_VOLUMES:
                    raise SceneError(f"{path}: holds ids of {_MOST_OF_VOLUMES:,} and more. Number its objects from 1")
            return window.predicted, window.reference

        yield read
