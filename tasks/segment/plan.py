"""The plan: tile, halo, overlap, block, batch and precision for one model, one scene and one machine."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Literal, TypeAlias

from models.card import Blend, Card
from models.predictor import PredictorSpec
from models.run_settings import RunSettings
from tasks.errors import PlanError
from tasks.geometry.box import Box, split
from tasks.geometry.frame import Frame
from tasks.jobs.job import Job
from tasks.segment.lattice import Lattice, TileAxis
from tasks.segment.memory import fit_block
from tasks.segment.placement import ON_STRIDE, Placement, placement_of, round_up

# The product's internal tile: blocks are multiples of it, so that no two blocks write one chunk.
CHUNK_2D = (512, 512)
CHUNK_3D = (32, 64, 64)

# Largest side of an automatic block. The wider a block, the fewer tiles are predicted for two blocks; the smaller,
# the less a killed run repeats.
_BLOCK_2D = 8192
_BLOCK_3D = 512

# How much larger than the card's an automatic tile of a volume may be.
_LARGER = 4

Setting: TypeAlias = Literal["auto"] | int | tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Slot:
    """What one worker slot offers, as found on the worker.

    Attributes:
        settings: Device, precision, threads, and the tile and batch that were probed to fit.
        device_name: The processor's own name.
        peak_bytes: Device memory that the probe used; 0 where it cannot be told.
        spec: What the predictor needs and gives.
        versions: Of the libraries that decide the bits of a mask.
        memory_bytes: Free in the machine's memory, or in what its container may take, for all slots on it; 0 where it
            is not known.
    """

    settings: RunSettings
    device_name: str
    peak_bytes: int
    spec: PredictorSpec
    versions: tuple[tuple[str, str], ...] = ()
    memory_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a scene is cut and computed. All of it but ``block`` decides the bits of the mask.

    Attributes:
        tile: Pixels of the model grid, per axis.
        halo: Read but not answered for, at each side.
        overlap: Shared by neighbouring cores and blended.
        block: Pixels of the native grid that one Dask task owns.
        chunk: Pixels of the native grid in one chunk of the store.
        blend: ``gaussian``, ``hann``, ``core`` or ``logits``.
        slot: Device, precision, threads and batch.
        agreement: From which intersection over union on what two tiles saw their objects are one.
        placement: How tiles are laid over the scene, what they weigh, and what they see beyond it; the card's.
    """

    tile: tuple[int, ...]
    halo: tuple[int, ...]
    overlap: tuple[int, ...]
    block: tuple[int, ...]
    chunk: tuple[int, ...]
    blend: str
    slot: Slot
    agreement: float = field(default=0.5, kw_only=True)
    placement: Placement = ON_STRIDE

    def lattice(self, frame: Frame) -> Lattice:
        """Return the tiles of a scene."""
        spec = self.slot.spec
        return Lattice(
            tuple(
                TileAxis(
                    length=length,
                    tile=self.tile[axis],
                    halo=self.halo[axis],
                    overlap=self.overlap[axis],
                    stride=spec.stride[axis],
                    margin=spec.margin[axis],
                    placement=self.placement,
                )
                for axis, length in enumerate(frame.model_shape)
            )
        )

    def blocks(self, frame: Frame) -> list[Box]:
        """Return the blocks that partition the native grid, in row-major order."""
        return list(split(frame.native_shape, self.block))

    def identity(self) -> dict[str, Any]:
        """Return what decides the bits of the mask, as plain values."""
        spec, settings = self.slot.spec, self.slot.settings
        joined = {} if spec.output == "scores" else {"agreement": self.agreement}
        return joined | {
            "tile": self.tile, "halo": self.halo, "overlap": self.overlap, "blend": self.blend,
            "stride": spec.stride, "margin": spec.margin, "batch": settings.batch, "device": settings.device,
            "dtype": settings.dtype, "threads": settings.threads, "versions": dict(self.slot.versions),
        }  # fmt: skip


def choose_blend(job: Job, card: Card) -> Blend:
    """Return how tiles are stitched: as the job says, else as the card does."""
    return card.tiling.blend if job.tiling.blend == "auto" else job.tiling.blend


def plan_tiles(job: Job, card: Card) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return tile, halo and overlap per axis: the job's where it names them, else the card's."""
    tiling, recommended = job.tiling, card.tiling
    n_axes = len(recommended.tile)
    tile = _per_axis(tiling.tile, recommended.tile, n_axes)
    if isinstance(tiling.tile, int):
        # One number for all leaves an axis of single slices as it is.
        tile = tuple(1 if side == 1 else tiling.tile for side in recommended.tile)
    # An axis of single slices has neither halo nor overlap.
    halo = tuple(
        0 if t == 1 else h for t, h in zip(tile, _per_axis(tiling.halo, recommended.halo, n_axes), strict=True)
    )
    overlap = _per_axis(tiling.overlap, recommended.overlap, n_axes)
    if choose_blend(job, card) == "core":
        overlap = (0,) * n_axes
    return tile, halo, tuple(0 if t == 1 else o for t, o in zip(tile, overlap, strict=True))


def make_plan(job: Job, card: Card, frame: Frame, slot: Slot, n_slots: int) -> Plan:
    """Fit tiles and blocks to a scene.

    Raises:
        PlanError: When the tiling contradicts itself or the network.
    """
    tile, halo, overlap = plan_tiles(job, card)
    chunk = CHUNK_2D if len(tile) == 2 else CHUNK_3D
    plan = Plan(
        tile=tile,
        halo=halo,
        overlap=overlap,
        block=chunk,
        chunk=chunk,
        blend=choose_blend(job, card),
        slot=slot,
        agreement=job.tiling.agreement,
        placement=placement_of(card.tiling),
    )
    axes = plan.lattice(frame).axes
    for axis in axes:
        axis.step  # noqa: B018  # raises where the numbers do not fit
        if slot.spec.output != "scores" and len(axis.origins) > 1 and axis.step >= axis.tile:
            raise PlanError(
                f"tiles of {axis.tile} pixels share none, and objects are joined on what two tiles both see; "
                "enlarge tiling.halo or tiling.overlap"
            )
    if card.tiling.whole and job.tiling.tile == "auto":
        # Every block, and every tile beside it in a batch, would be another pass over the whole scene.
        n_slots = 1
        plan = replace(plan, tile=_whole(axes, slot), slot=replace(slot, settings=replace(slot.settings, batch=1)))
    elif plan.placement.may_shrink and slot.spec.only_tile is None:
        # Where a smaller tile holds the whole axis, no pass goes over padding alone.
        tile = tuple(min(axis.tile, max(axis.whole, _least_side(axis, slot.spec))) for axis in axes)
        plan = replace(plan, tile=tile)
        if job.tiling.tile == "auto" and len(tile) == 3 and slot.settings.device == "cpu":
            plan = replace(plan, tile=_economical(plan, frame))
    if job.tiling.block == "auto":
        values = slot.spec.n_channels + slot.spec.n_classes
        wanted = _auto_block(frame, chunk, n_slots)
        return replace(
            plan, block=fit_block(wanted, chunk, tile=plan.tile, values=values, slot_bytes=slot.memory_bytes // n_slots)
        )
    block = _per_axis(job.tiling.block, chunk, len(tile))
    if any(b % c or b < c for b, c in zip(block, chunk, strict=True)):
        raise PlanError(f"block {block} is not a multiple of the product's internal tile {chunk}; change tiling.block")
    return replace(plan, block=block)


def _whole(axes: tuple[TileAxis, ...], slot: Slot) -> tuple[int, ...]:
    """Return the tile that holds a scene.

    Raises:
        PlanError: When a pass over it, as far as the one that was tried tells, needs more memory than is there.
    """
    tile = tuple(axis.whole for axis in axes)
    needed = slot.peak_bytes * math.prod(tile) // math.prod(slot.settings.tile)
    if slot.settings.device == "cpu" and 0 < slot.memory_bytes < needed:
        raise PlanError(
            f"the model looks at {'x'.join(map(str, tile))} pixels at once, which needs about {needed >> 20} MiB, and "
            f"{slot.memory_bytes >> 20} MiB are free. Cut it into tiles: tiling.tile, with a tiling.overlap"
        )
    return tile


def _economical(plan: Plan, frame: Frame) -> tuple[int, ...]:
    """Return the tile, at most four times as large, with which the fewest voxels are passed over a whole volume.

    Halos are most of a small tile of three axes, and what the last tile of an axis sees twice adds to them.
    """
    axes = plan.lattice(frame).axes
    passed = {}
    for sides in product(*(_even_sides(axis, _least_side(axis, plan.slot.spec)) for axis in axes)):
        if math.prod(sides) <= _LARGER * math.prod(plan.tile):
            counts = [len(replace(axis, tile=side).origins) for axis, side in zip(axes, sides, strict=True)]
            passed[sides] = math.prod(counts) * math.prod(sides)
    # Of equals the smaller tile: more of them share the cores out better.
    return min(passed, key=lambda sides: (passed[sides], math.prod(sides), sides))


def _least_side(axis: TileAxis, spec: PredictorSpec) -> int:
    """Return the shortest side of a tile: what looks at the whole tile, such as instance norm, needs two strides."""
    return axis.stride if spec.receptive_field is not None else 2 * axis.stride


def _even_sides(axis: TileAxis, least: int) -> list[int]:
    """Return the sides with which one tile, two, and so on, up to as many as there are now, just cover an axis.

    Only those that are at least ``least`` long, and the one that the axis has now.
    """
    edge = 2 * axis.inner + axis.overlap
    length = axis.length + 2 * axis.margin
    sides = {axis.tile}
    for count in range(1, len(axis.origins) + 1):
        side = min(axis.whole, round_up(-(-(length - edge) // count) + edge, axis.stride))
        if side >= least and side - edge >= max(axis.stride, axis.overlap + axis.stride):
            sides.add(side)
    return sorted(sides)


def _per_axis(setting: Setting, recommended: tuple[int, ...], n_axes: int) -> tuple[int, ...]:
    if setting == "auto":
        return recommended
    if isinstance(setting, int):
        return (setting,) * n_axes
    if len(setting) != n_axes:
        raise PlanError(f"tiling {setting} has {len(setting)} numbers; this model has {n_axes} axes")
    return setting


def _auto_block(frame: Frame, chunk: tuple[int, ...], n_slots: int) -> tuple[int, ...]:
    """Cut along the first axis until every slot has a block; large scenes get two per slot, to balance and resume."""
    limit = _BLOCK_2D if len(chunk) == 2 else _BLOCK_3D
    block = [min(limit, round_up(n, c)) for n, c in zip(frame.native_shape, chunk, strict=True)]
    pixels = math.prod(frame.native_shape)
    wanted = 1 if pixels < 2**21 else n_slots * (2 if pixels > 2**25 else 1)
    others = math.prod(-(-n // b) for n, b in zip(frame.native_shape[1:], block[1:], strict=True))
    rows = round_up(-(-frame.native_shape[0] // max(1, -(-wanted // others))), chunk[0])
    block[0] = min(block[0], rows)
    return tuple(block)
