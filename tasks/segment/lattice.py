"""Where the tiles of a scene lie: a lattice that depends on the scene and the plan, never on a block."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from models.card import Placement
from tasks.errors import PlanError
from tasks.geometry.box import Box


@dataclass(frozen=True, kw_only=True)
class TileAxis:
    """The tiles along one axis of the model grid.

    Origins are multiples of ``stride``. The first tile starts at the scene's edge, the last one is moved back until
    it ends there, so that edges are seen as an untiled pass would see them. Spread evenly, tiles lie between the two
    edges wherever that puts them; the only tile of a shorter axis is centred on it. Shifted, they lie a step apart, the
    last one excepted.

    Attributes:
        length: Pixels of the scene.
        tile: Pixels of a tile.
        halo: Pixels at each inner side that a tile reads but does not answer for.
        overlap: Pixels that neighbouring cores share, at least.
        stride: Of the network.
        margin: Pixels that the network loses at each side; none where tiles do not lie on its stride.
        placement: As in ``models.card.Tiling``.
        sigma: As there.
    """

    length: int
    tile: int
    halo: int
    overlap: int
    stride: int = 1
    margin: int = 0
    placement: Placement = "stride"
    sigma: float | None = None

    @property
    def beyond(self) -> int:
        """Pixels beyond an edge that are read, a multiple of the stride."""
        return _round_up(self.margin, self.stride)

    @property
    def whole(self) -> int:
        """Side of a tile that holds the whole axis."""
        return _round_up(self.length + 2 * self.beyond, self.stride)

    @property
    def inner(self) -> int:
        """Pixels from the side of a tile to its core."""
        return max(self.halo, self.margin)

    @property
    def step(self) -> int:
        """Distance of neighbouring origins.

        Raises:
            PlanError: When halo and overlap leave nothing of the tile, or the tile is no multiple of the stride.
        """
        if self.tile % self.stride:
            raise PlanError(
                f"tile {self.tile} is not a multiple of the network's stride {self.stride}; "
                f"use tiling.tile={_round_up(self.tile, self.stride)}"
            )
        lattice = self.stride if self.placement == "stride" else 1
        step = (self.tile - 2 * self.inner - self.overlap) // lattice * lattice
        if step < 1 or (self.overlap > step and self.placement == "stride"):
            raise PlanError(
                f"tile {self.tile} leaves no room for halo {self.inner} at each side and overlap {self.overlap}; "
                "enlarge tiling.tile, or reduce tiling.halo or tiling.overlap"
            )
        return step

    @cached_property
    def origins(self) -> tuple[int, ...]:
        """First pixel that each tile reads; may lie outside the scene."""
        if self.placement == "even":
            return self._even_origins()
        if self.placement == "shifted":
            return self._shifted_origins()
        first = -self.beyond
        last = max(first, _round_up(self.length + self.margin - self.tile, self.stride))
        # One tile that holds the whole axis needs no room for halo and overlap.
        return (first,) if first == last else (*range(first, last, self.step), last)

    def _even_origins(self) -> tuple[int, ...]:
        """Place tiles as ``compute_steps_for_sliding_window`` and ``pad_nd_image`` of nnU-Net v2 do."""
        room = self.length - self.tile
        if room <= 0:
            return (-(-room // 2),)
        # Half of an odd tile is no whole number.
        halved = self.overlap > 0 and self.overlap == self.tile // 2 and self.inner == 0
        step = self.tile / 2 if halved else self.tile - 2 * self.inner - self.overlap
        count = math.ceil(room / step)
        return tuple(round(room / count * i) for i in range(count + 1))

    def _shifted_origins(self) -> tuple[int, ...]:
        """Place tiles as ``sliding_window_inference`` of MONAI does."""
        room = self.length - self.tile
        return (-(-room // 2),) if room <= 0 else (*range(0, room, self.step), room)

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


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
