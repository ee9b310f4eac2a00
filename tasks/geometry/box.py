"""A half-open N-dimensional window in array order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True, order=True)
class Box:
    """Half-open window ``[start, stop)`` in array order: ``rows, cols`` or ``depth, rows, cols``."""

    start: tuple[int, ...]
    stop: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Length along each axis."""
        return tuple(stop - start for start, stop in zip(self.start, self.stop, strict=True))

    @property
    def slices(self) -> tuple[slice, ...]:
        """Index of this window into an array of the whole."""
        return tuple(slice(start, stop) for start, stop in zip(self.start, self.stop, strict=True))

    @property
    def is_empty(self) -> bool:
        """Whether the window holds no pixel."""
        return any(length <= 0 for length in self.shape)

    def shifted(self, offset: tuple[int, ...]) -> Box:
        """Return the window moved by ``offset``."""
        return Box(
            tuple(a + o for a, o in zip(self.start, offset, strict=True)),
            tuple(b + o for b, o in zip(self.stop, offset, strict=True)),
        )

    def relative_to(self, origin: tuple[int, ...]) -> Box:
        """Return the window as seen from ``origin``."""
        return self.shifted(tuple(-o for o in origin))

    def intersection(self, other: Box) -> Box:
        """Return the common part; it is empty where the two do not meet."""
        start = tuple(max(a, b) for a, b in zip(self.start, other.start, strict=True))
        stop = tuple(min(a, b) for a, b in zip(self.stop, other.stop, strict=True))
        return Box(start, tuple(max(a, b) for a, b in zip(start, stop, strict=True)))

    @classmethod
    def of_shape(cls, shape: tuple[int, ...]) -> Box:
        """Return the window over a whole array of ``shape``."""
        return cls((0,) * len(shape), tuple(shape))


def split(shape: tuple[int, ...], step: tuple[int, ...]) -> Iterator[Box]:
    """Yield the windows of at most ``step`` that partition ``shape``, in row-major order."""
    ranges = [range(0, length, size) for length, size in zip(shape, step, strict=True)]
    for start in product(*ranges):
        stop = tuple(min(s + d, n) for s, d, n in zip(start, step, shape, strict=True))
        yield Box(start, stop)
