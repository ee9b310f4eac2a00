"""What an image and a network's confidence say inside a lesion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tasks.answers.tumour.components import Components, Lesion, Part
from tasks.geometry.box import Box

ReadImage: TypeAlias = Callable[[Box], tuple[NDArray[np.float32], NDArray[np.bool_]]]
ReadPercent: TypeAlias = Callable[[Box], NDArray[np.unsignedinteger[Any]]]

_NOT_OBSERVED = 255
# Percentiles of larger lesions come from every second, third, ... voxel of their order in the array.
_MOST_KEPT = 1_000_000
# Percent is kept in chunks of 32 planes, each of which is decoded whole for any of its planes.
_PLANES = 16


@dataclass(frozen=True, kw_only=True)
class Intensity:
    """Values of the image inside a lesion, in the image's own unit.

    Attributes:
        n: Finite voxels.
        mean: Their mean.
        std: Their standard deviation, 1 / N.
        minimum: Smallest.
        maximum: Largest.
        p10: 10th percentile.
        median: 50th.
        p90: 90th.
    """

    n: int
    mean: float
    std: float
    minimum: float
    maximum: float
    p10: float
    median: float
    p90: float


@dataclass(frozen=True)
class VolumeInterval:
    """How large a lesion is if what is uncertain falls one way or the other; no statement of probability.

    Attributes:
        low_ml: Without its own uncertain voxels.
        high_ml: With the uncertain voxels round it.
    """

    low_ml: float
    high_ml: float


def intensity(part: Part, box: Box, read: ReadImage) -> Intensity | None:
    """Return statistics of the image inside a lesion; None where none of its voxels is finite.

    Args:
        part: The lesion.
        box: Its window of the volume.
        read: Reads values and which of them are finite.
    """
    count, low, high = 0, np.inf, -np.inf
    mean, spread = 0.0, 0.0
    kept = []
    n_voxels = sum(int(part.planes(start, stop).sum()) for start, stop in part.slabs())
    step, offset = -(-n_voxels // _MOST_KEPT), 0
    for start, stop in part.slabs():
        values, finite = read(_slab_of(box, start, stop))
        inside = part.planes(start, stop)[:, 1:-1, 1:-1]
        found = values[inside & finite].astype(np.float64)
        if found.size == 0:
            continue
        # Chan, Golub & LeVeque 1983: two sums of squares joined without cancellation.
        total, other = count + found.size, float(found.mean())
        spread += float(((found - other) ** 2).sum()) + (other - mean) ** 2 * count * found.size / total
        mean += (other - mean) * found.size / total
        low, high = min(low, float(found.min())), max(high, float(found.max()))
        kept.append(found[(-offset) % step :: step].copy())
        offset, count = offset + found.size, total
    if count == 0:
        return None
    p10, median, p90 = np.percentile(np.concatenate(kept), (10, 50, 90)).tolist()
    return Intensity(
        n=count,
        mean=mean,
        std=float(np.sqrt(spread / count)),
        minimum=low,
        maximum=high,
        p10=p10,
        median=median,
        p90=p90,
    )


def mean_probability(part: Part, box: Box, read: ReadPercent) -> float | None:
    """Return the mean probability of the winning class inside a lesion; None where none was kept."""
    total, count = 0, 0
    for start, stop in part.slabs():
        percent = read(_slab_of(box, start, stop))
        inside = part.planes(start, stop)[:, 1:-1, 1:-1] & (percent != _NOT_OBSERVED)
        total += int(percent[inside].sum(dtype=np.int64))
        count += int(inside.sum())
    return total / count / 100.0 if count else None


@dataclass(frozen=True)
class Uncertainty:
    """Which voxels are uncertain, and which of them may belong to a lesion.

    Attributes:
        percent: A voxel whose winning class is less probable is uncertain; so is one without a confidence.
        reach_mm: How far along each axis uncertain voxels are followed from a lesion.
    """

    percent: int
    reach_mm: float


def volume_interval(
    components: Components, lesion: Lesion, shape: tuple[int, ...], read: ReadPercent, rule: Uncertainty
) -> VolumeInterval:
    """Return the volumes of a lesion without its uncertain voxels, and with those round it.

    Those round it are reached through uncertain voxels that are no lesion's, by steps across faces; the steps
    along an axis add up to ``reach_mm`` at most. A voxel without a confidence is uncertain. With two classes these are
    the volumes at probabilities p and 1 - p. Two bytes per voxel of the lesion's box and what is in reach.

    Args:
        components: Of the mask.
        lesion: One of them.
        shape: Of the mask.
        read: Reads the winning class's probability in percent, 255 where not observed.
        rule: What is uncertain.
    """
    spacing = np.linalg.norm(components.affine_mm[:3, :3], axis=0)
    steps = [int(rule.reach_mm / length + 1e-9) for length in spacing]
    start = tuple(max(0, low - step) for low, step in zip(lesion.box.start, steps, strict=True))
    stop = tuple(min(n, high + step) for n, high, step in zip(shape, lesion.box.stop, steps, strict=True))
    region = Box(start, stop)
    grown = np.zeros(region.shape, np.bool_)
    free = np.zeros(region.shape, np.bool_)
    certain = 0
    number = int(components.number_of[lesion.id - 1])
    for first in range(0, region.shape[0], _PLANES):
        planes = slice(first, min(first + _PLANES, region.shape[0]))
        slab = _slab_of(region, planes.start, planes.stop)
        numbers, percent = _numbers(components, slab), read(slab)
        is_uncertain = (percent < rule.percent) | (percent == _NOT_OBSERVED)
        grown[planes] = numbers == number
        free[planes] = is_uncertain & (numbers == 0)
        certain += int((grown[planes] & ~is_uncertain).sum())
    _grow(grown, free, steps)
    voxel_ml = lesion.volume_ml / lesion.n_voxels
    return VolumeInterval(certain * voxel_ml, int(np.count_nonzero(grown)) * voxel_ml)


def _numbers(components: Components, box: Box) -> NDArray[Any]:
    """Return component numbers of a window of the mask, 0 beyond the window that holds them all."""
    numbers = np.zeros(box.shape, components.numbers.dtype)
    common = box.intersection(components.window)
    if not common.is_empty:
        inside = components.numbers[common.relative_to(components.window.start).slices]
        numbers[common.relative_to(box.start).slices] = inside
    return numbers


def _grow(grown: NDArray[np.bool_], free: NDArray[np.bool_], steps: list[int]) -> None:
    """Grow a region into free voxels in place, plane by plane; ``steps`` along each axis, spread over the rounds."""
    rounds = max(steps)
    for turn in range(1, rounds + 1):
        moves = [turn * n // rounds > (turn - 1) * n // rounds for n in steps]
        if moves[0]:
            _grow_depth(grown, free)
        for plane, allowed in zip(grown, free, strict=True):
            before = plane.copy()
            if moves[1]:
                plane[1:] |= before[:-1] & allowed[1:]
                plane[:-1] |= before[1:] & allowed[:-1]
            if moves[2]:
                plane[:, 1:] |= before[:, :-1] & allowed[:, 1:]
                plane[:, :-1] |= before[:, 1:] & allowed[:, :-1]


def _grow_depth(grown: NDArray[np.bool_], free: NDArray[np.bool_]) -> None:
    above = np.zeros(grown.shape[1:], np.bool_)
    for index, allowed in enumerate(free):
        before = grown[index].copy()
        if index + 1 < len(grown):
            above |= grown[index + 1]
        grown[index] |= above & allowed
        above = before


def _slab_of(box: Box, start: int, stop: int) -> Box:
    low, high = list(box.start), list(box.stop)
    low[0], high[0] = box.start[0] + start, box.start[0] + stop
    return Box(tuple(low), tuple(high))
