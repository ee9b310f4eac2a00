"""Class numbers as a mask file stores them: whole, not negative, some of them not observed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import SceneError, UnreadableSceneError


@dataclass(frozen=True)
class LabelRules:
    """How the values of one mask are read.

    Attributes:
        name: Of the mask, for errors.
        not_observed: Values that leave a pixel open, beside what the file itself declares.
        mapping: Class by value; values that are not in it are classes themselves.
    """

    name: str
    not_observed: tuple[int, ...] = ()
    mapping: dict[int, int] = field(default_factory=dict)

    def read(
        self, values: NDArray[Any], observed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.integer[Any]], NDArray[np.bool_]]:
        """Return class numbers, 0 where not observed, and what is observed.

        Args:
            values: As stored.
            observed: What the file itself does not declare as nodata.

        Raises:
            UnreadableSceneError: When a value is a fraction.
            SceneError: When a class is negative.
        """
        seen = observed & np.isfinite(values) if values.dtype.kind == "f" else observed.copy()
        for value in self.not_observed:
            seen &= values != value
        clean = np.where(seen, values, 0)
        labels = clean if clean.dtype.kind in "iu" else self._whole(clean)
        mapped = self._mapped(labels)
        if mapped.dtype.kind == "i" and mapped.min(initial=0) < 0:
            low = int(mapped.min())
            raise SceneError(
                f"{self.name}: holds {low}, and classes are 0 and more. Say what it stands for with "
                f"--not-observed={low}, --map-predicted or --map-reference"
            )
        return mapped, seen

    def _whole(self, values: NDArray[Any]) -> NDArray[np.integer[Any]]:
        if values.dtype.kind == "b":
            return values.astype(np.uint8)
        labels: NDArray[np.int64] = np.rint(values).astype(np.int64)
        if not np.array_equal(labels, values):
            raise UnreadableSceneError(
                f"{self.name}: holds fractions; a mask holds class numbers. Give the mask, not probabilities"
            )
        return labels

    def _mapped(self, labels: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
        if not self.mapping:
            return labels
        mapped = labels.astype(np.int64)
        for value, target in self.mapping.items():
            mapped[labels == value] = target
        return mapped
