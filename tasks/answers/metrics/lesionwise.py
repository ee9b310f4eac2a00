"""Scores lesion by lesion, as the BraTS challenges of 2023 count them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, find_objects, generate_binary_structure

from tasks.answers.metrics.boundary import MOST_POINTS, TooManyPointsError, boundaries
from tasks.answers.metrics.pair import MaskPair, Slab, Steps, pair_of, slabs, step_vectors
from tasks.answers.metrics.score import Score, Scores, missing
from tasks.answers.metrics.surface import element_distances, hd95_by_area
from tasks.geometry.box import Box

Bools: TypeAlias = NDArray[np.bool_]
Numbered: TypeAlias = NDArray[np.unsignedinteger[Any]]
Challenge: TypeAlias = Literal["gli", "ssa", "ped", "men", "met"]

# Voxels of both masks' common window; more would need more than about 4 GB.
MOST_VOXELS = 1 << 28
# Nobody's brain is larger: what a missed or invented lesion costs.
_WORST_HD95_MM = 374.0
_COUNTS = ("lesions_found", "lesions_missed", "lesions_invented")


@dataclass(frozen=True)
class Rules:
    """How a challenge counts.

    Attributes:
        name: Of the challenge.
        dilations: Steps by which lesions of the reference grow before they are joined and matched.
        least_mm3: Lesions of the reference up to this volume are not scored.
    """

    name: Challenge
    dilations: int
    least_mm3: float


RULES: dict[Challenge, Rules] = {
    "gli": Rules("gli", 3, 50.0),
    "ssa": Rules("ssa", 3, 50.0),
    "ped": Rules("ped", 3, 50.0),
    "men": Rules("men", 1, 50.0),
    "met": Rules("met", 1, 2.0),
}


@dataclass(frozen=True)
class Lesion:
    """One lesion of the reference against the predicted components that touch it.

    Attributes:
        volume_mm3: Of the lesion.
        matched: Numbers of those components; empty where the lesion was missed.
        dice: 0 where it was missed.
        hd95_mm: By surface-distance; 374 where it was missed.
    """

    volume_mm3: float
    matched: tuple[int, ...]
    dice: float
    hd95_mm: float


def lesion_scores(
    pair: MaskPair, label: int, rules: Rules, most_voxels: int = MOST_VOXELS, most_points: int = MOST_POINTS
) -> Scores:
    """Return lesion-wise Dice and HD95 of one class, and how many lesions were found, missed and invented.

    The rules of the challenges (rachitsaluja/BraTS-2023-Metrics): parts joined through 26 neighbours; fragments of
    the reference whose dilations join are one lesion; a lesion is matched by every predicted component that its
    dilation touches; the sum over lesions is divided by lesions and invented components together, which score 0 and
    374 mm. Without either, Dice is 1 and HD95 0.

    Args:
        pair: Two volumes with a spacing in mm.
        label: The class.
        rules: Of the challenge.
        most_voxels: Of the window that holds the class in either mask; above, nothing is computed.
        most_points: Of one lesion's boundary; above, nothing is computed.
    """
    keys = [f"lesion_{name}[brats-2023 {rules.name}]" for name in ("dice", "hd95_mm")]
    counts = [f"{name}[brats-2023 {rules.name}]" for name in _COUNTS]
    box = _extent(pair, label, rules.dilations)
    if box is not None and math.prod(box.shape) > most_voxels:
        return missing((*keys, *counts), f"the class spans more than {most_voxels:,} voxels")
    lesions: list[Lesion] = []
    n_invented = 0
    if box is not None:
        try:
            lesions, n_invented = compare_lesions(*_binary(pair, label, box), pair, rules, most_points)
        except TooManyPointsError as error:
            return missing((*keys, *counts), str(error))
    scored = [lesion for lesion in lesions if lesion.volume_mm3 > rules.least_mm3]
    whole = len(scored) + n_invented
    dice = math.fsum(lesion.dice for lesion in scored) / whole if whole else 1.0
    hd95 = math.fsum((*(lesion.hd95_mm for lesion in scored), _WORST_HD95_MM * n_invented)) / whole if whole else 0.0
    n_found = sum(bool(lesion.matched) for lesion in scored)
    values = (dice, hd95, float(n_found), float(len(scored) - n_found), float(n_invented))
    return {key: Score(value) for key, value in zip((*keys, *counts), values, strict=True)}


def compare_lesions(
    predicted: Bools, reference: Bools, pair: MaskPair, rules: Rules, most_points: int = MOST_POINTS
) -> tuple[list[Lesion], int]:
    """Compare two binary volumes lesion by lesion.

    Args:
        predicted: ``depth, rows, cols``.
        reference: The same shape; what lies beyond is background.
        pair: Gives the spacing in mm.
        rules: Of the challenge.
        most_points: Of one lesion's boundary.

    Returns:
        All lesions of the reference, and how many predicted components match none.

    Raises:
        TooManyPointsError: When a boundary has more.
    """
    structure = generate_binary_structure(3, 2)
    grown = binary_dilation(reference, structure, rules.dilations)
    lesions = np.where(reference, _connected(grown), 0)
    components = _connected(predicted)
    windows = find_objects(components)
    found: list[Lesion] = []
    matched: set[int] = set()
    for number, place in enumerate(find_objects(lesions), start=1):
        near = _wider(place, rules.dilations, reference.shape)
        reach = binary_dilation(lesions[near] == number, structure, rules.dilations)
        touching = tuple(int(part) for part in np.unique(components[near][reach]) if part)
        matched.update(touching)
        window = _around(place, [windows[part - 1] for part in touching])
        ours = np.isin(components[window], touching)
        found.append(
            _compare(
                ours,
                lesions[window] == number,
                matched=touching,
                spacing_mm=pair.spacings["mm"],
                most_points=most_points,
            )
        )
    n_components = int(components.max(initial=0))
    return found, n_components - len(matched)


def _compare(ours: Bools, theirs: Bools, matched: tuple[int, ...], spacing_mm: Steps, most_points: int) -> Lesion:
    n_theirs = int(np.count_nonzero(theirs))
    volume_mm3 = n_theirs * abs(float(np.linalg.det(step_vectors(spacing_mm))))
    if not matched:
        return Lesion(volume_mm3, matched, 0.0, _WORST_HD95_MM)
    dice = 2 * int(np.count_nonzero(ours & theirs)) / (int(np.count_nonzero(ours)) + n_theirs)
    both = boundaries(pair_of(ours.view(np.uint8), theirs.view(np.uint8)), 1, most_points)
    return Lesion(volume_mm3, matched, dice, hd95_by_area(element_distances(*both, spacing_mm)))


def _connected(mask: Bools) -> Numbered:
    # As integers: cc3d's shortcut for binary images makes its tables too small for a window one voxel thick.
    numbered: Numbered = cc3d.connected_components(mask.view(np.uint8), connectivity=26)
    return numbered.reshape(mask.shape)


def _binary(pair: MaskPair, label: int, box: Box) -> tuple[Bools, Bools]:
    window = pair.read(box)
    return (window.predicted == label) & window.observed, (window.reference == label) & window.observed


def _extent(pair: MaskPair, label: int, margin: int) -> Box | None:
    """Return the window that holds the class in either mask, and ``margin`` voxels more."""
    lowest, highest = np.array(pair.shape), np.zeros(len(pair.shape), np.int64)
    for slab in slabs(pair.shape):
        found = np.argwhere(_either(pair, slab, label))
        if found.size:
            origin = np.array([slab.start, *(0 for _ in pair.shape[1:])])
            lowest = np.minimum(lowest, found.min(axis=0) + origin)
            highest = np.maximum(highest, found.max(axis=0) + origin + 1)
    if (highest <= lowest).any():
        return None
    start = np.maximum(lowest - margin, 0).tolist()
    return Box(tuple(start), tuple(np.minimum(highest + margin, pair.shape).tolist()))


def _either(pair: MaskPair, slab: Slab, label: int) -> Bools:
    window = pair.read(slab.box(pair.shape))
    either: Bools = ((window.predicted == label) | (window.reference == label)) & window.observed
    return either


def _wider(place: tuple[slice, ...], margin: int, shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(
        slice(max(0, part.start - margin), min(length, part.stop + margin))
        for part, length in zip(place, shape, strict=True)
    )


def _around(place: tuple[slice, ...], others: list[tuple[slice, ...]]) -> tuple[slice, ...]:
    """Return the window that holds all of the given ones."""
    return tuple(
        slice(min(part.start for part in parts), max(part.stop for part in parts))
        for parts in zip(place, *others, strict=True)
    )
