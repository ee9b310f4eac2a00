"""Class numbers as a mask file stores them: whole, not negative, some of them not observed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import SceneError
from tasks.scenes.class_numbers import class_numbers

# Ids of objects and foreign codes are looked up, too; what is no class is refused after that.
_LOWEST, _MOST = -(1 << 62), 1 << 62


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
            UnsupportedSceneError: When a value is a fraction.
            SceneError: When a class is negative.
        """
        seen = observed & np.isfinite(values) if values.dtype.kind == "f" else observed.copy()
        for value in self.not_observed:
            seen &= values != value
        mapped = self._mapped(class_numbers(self.name, values, seen, _MOST, lowest=_LOWEST))
        if mapped.dtype.kind == "i" and mapped.min(initial=0) < 0:
            low = int(mapped.min())
            raise SceneError(
                f"{self.name}: holds {low}, and classes are 0 and more. Say what it stands for with "
                f"--not-observed={low}, --map-predicted or --map-reference"
            )
        return mapped, seen

    def leaving_open(self, value: int | None) -> LabelRules:
        """Return the rules with one more value that leaves a pixel open, unless it is mapped to a class."""
        if value is None or value in self.mapping:
            return self
        return replace(self, not_observed=(*self.not_observed, value))

    def _mapped(self, labels: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
        if not self.mapping:
            return labels
        mapped = labels.astype(np.int64)
        for value, target in self.mapping.items():
            mapped[labels == value] = target
        return mapped
