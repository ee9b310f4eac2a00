"""The volume of every class of a mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.answers.area import is_numbered
from tasks.geometry.box import Box

_SLAB = 16


@dataclass(frozen=True)
class ClassVolumes:
    """How much of a volume each class fills.

    Attributes:
        voxels: Per class, in order.
        not_observed_voxels: Voxels without an observation.
        voxel_ml: Volume of one.
    """

    voxels: tuple[int, ...]
    not_observed_voxels: int
    voxel_ml: float

    @property
    def volumes_ml(self) -> tuple[float, ...]:
        """Per class, in order."""
        return tuple(count * self.voxel_ml for count in self.voxels)

    @property
    def observed_percent(self) -> float:
        """The share of voxels that were observed."""
        seen = sum(self.voxels)
        return 100.0 * seen / (seen + self.not_observed_voxels)

    def is_shown(self, label: int, name: str) -> bool:
        """Tell whether a class is worth a row: of a mask of 0 and 255, the numbers between are not."""
        return self.voxels[label] > 0 or not is_numbered(label, name)


def class_volumes(
    read: Callable[[Box], NDArray[np.unsignedinteger[Any]]], shape: tuple[int, ...], voxel_ml: float, n_classes: int
) -> ClassVolumes:
    """Count voxels per class, slab by slab.

    Args:
        read: Returns the class numbers of a window; anything from ``n_classes`` on is not observed.
        shape: ``depth, rows, cols``.
        voxel_ml: Volume of a voxel.
        n_classes: Classes, background included.
    """
    counts = np.zeros(n_classes + 1, np.int64)
    for start in range(0, shape[0], _SLAB):
        labels = read(Box((start, 0, 0), (min(start + _SLAB, shape[0]), *shape[1:])))
        counts += np.bincount(np.minimum(labels, n_classes).ravel(), minlength=n_classes + 1)
    return ClassVolumes(tuple(counts[:-1].tolist()), int(counts[-1]), voxel_ml)
