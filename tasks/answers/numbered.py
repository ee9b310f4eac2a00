"""Areas of a raster that are numbered from 1, whoever found them: fires, instances."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.geometry.box import Box


class Numbered(Protocol):
    """Areas that do not overlap."""

    @property
    def n(self) -> int:
        """How many there are."""
        ...

    def windows(self) -> Iterator[tuple[Box, NDArray[np.int64]]]:
        """Yield windows in row-major order with the number of the area at each pixel, 0 where there is none."""
        ...
