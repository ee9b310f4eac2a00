"""Where the tiles of a scene lie: a lattice that depends on the scene and the plan, never on a block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from tasks.errors import PlanError
from tasks.geometry.box import Box
from tasks.segment.placement import ON_STRIDE, Extent, Placement, round_up


@dataclass(frozen=True, kw_only=True)
class TileAxis(Extent):
    """The tiles along one axis of the model grid.

    Attributes:
        placement: How they are laid.
    """

    placement: Placement = ON_STRIDE

    @property
    def step(self) -> int:
        """Distance of neighbouring origins.

        Raises:
            PlanError: When halo and overlap leave nothing of the tile, or the tile is no multiple of the stride.
        """
        if self.tile % self.stride:
            raise PlanError(
                f"tile {self.tile} is not a multiple of the network's stride {self.stride}; "
                f"use tiling.tile={round_up(self.tile, self.stride)}"
            )
        return self.placement.step(self)

    @cached_property
    def origins(self) -> tuple[int, ...]:
        """First pixel that each tile reads; may lie outside the scene.

        Raises:
            PlanError: When halo and overlap leave nothing of the tile.
        """
        return self.placement.origins(self)

    @cached_property
    def cores(self) -> tuple[tuple[int, int], ...]:
        """``[start, stop)`` that each tile answers for; neighbours overlap, all lie inside the scene."""
        starts = [0] + [origin + self.inner for origin in self.origins[1:]]
        stops = [origin + self.tile - self.inner for origin in self.origins[:-1]] + [self.length]
        return tuple(zip(starts, stops, strict=True))

    def touching(self, start: int, stop: int) -> range:
        """Return the numbers of the tiles whose cores meet ``[start, stop)``."""
        hits = [i for i, (a, b) in enumerate(self.cores) if a < stop and b > start]
        return range(hits[0], hits[-1] + 1) if hits else range(0)


@dataclass(frozen=True)
class Tile:
    """One forward pass: ``window`` is read, ``core`` is answered for; ``index`` is its place in the lattice."""

    index: tuple[int, ...]
    window: Box
    core: Box


@dataclass(frozen=True)
class Lattice:
    """All tiles of a scene, the product of its axes in array order."""

    axes: tuple[TileAxis, ...]

    def tile(self, index: tuple[int, ...]) -> Tile:
        """Return the tile at ``index``."""
        start = tuple(axis.origins[i] for axis, i in zip(self.axes, index, strict=True))
        stop = tuple(s + axis.tile for axis, s in zip(self.axes, start, strict=True))
        cores = [axis.cores[i] for axis, i in zip(self.axes, index, strict=True)]
        return Tile(index, Box(start, stop), Box(tuple(a for a, _ in cores), tuple(b for _, b in cores)))

    def strips(self, region: Box) -> Iterator[list[Tile]]:
        """Yield the tiles that answer for some of ``region``, one list per row of tiles along the first axis."""
        first, *others = (axis.touching(a, b) for axis, a, b in zip(self.axes, region.start, region.stop, strict=True))
        for i in first:
            yield [self.tile((i, *rest)) for rest in product(*others)]

    def count(self, region: Box) -> int:
        """Return how many tiles answer for some of ``region``."""
        return sum(len(strip) for strip in self.strips(region))
