"""Which lesions of two dates are the same, through the affines alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from tasks.answers.tumour.components import Components
from tasks.answers.tumour.field import marked_of, nearest_voxels, places_of, seen_shares
from tasks.answers.tumour.outline import outline

Floats = NDArray[np.float64]
# Places of a prior and a current lesion, and what they share.
Shared: TypeAlias = dict[tuple[int, int], float]


@dataclass(frozen=True)
class Group:
    """Lesions of two dates that belong together.

    Attributes:
        prior: Their places in the prior's list.
        current: Their places in the current list.
        overlap_ml: Volume of the current ones that lies on the prior ones.
        distance_mm: Where they do not overlap, the distance between their outer voxels.
    """

    prior: tuple[int, ...]
    current: tuple[int, ...]
    overlap_ml: float
    distance_mm: float | None


@dataclass(frozen=True)
class Matching:
    """How the lesions of two dates go together.

    Attributes:
        groups: Every lesion of both dates is in one of them; largest prior lesion first, then the new ones.
        seen_share: Per prior lesion, the share of its voxels that the current grid holds and that were observed there.
    """

    groups: tuple[Group, ...]
    seen_share: tuple[float, ...]


def match(prior: Components, current: Components, current_shape: tuple[int, ...], match_mm: float) -> Matching:
    """Match the lesions of two dates, one to many.

    The prior mask is laid on the current grid by nearest neighbour through both affines, and the current one on the
    prior's, so that no voxel is lost where a grid is coarse. Lesions that share a voxel belong together. A lesion
    that shares none goes with one such lesion of the other date within ``match_mm``, nearest pairs first. Nothing is
    deformed and nothing is registered but by the coordinates that the files state.

    Args:
        prior: Lesions of the earlier date.
        current: Lesions of the later date.
        current_shape: Of the later mask.
        match_mm: Between outer voxel centres.
    """
    shared_ml: Shared = {}
    for here, there in _meetings(current, prior):
        pairs, counts = np.unique(np.stack((there, here)), axis=1, return_counts=True)
        for (one, other), count in zip(pairs.T.tolist(), counts.tolist(), strict=True):
            lesion = current.lesions[other]
            shared = count * lesion.volume_ml / lesion.n_voxels
            shared_ml[one, other] = shared_ml.get((one, other), 0.0) + shared
    for here, there in _meetings(prior, current):
        for one, other in np.unique(np.stack((here, there)), axis=1).T.tolist():
            shared_ml.setdefault((one, other), 0.0)
    near = _near(prior, current, shared_ml, match_mm)
    groups = _groups((len(prior.lesions), len(current.lesions)), shared_ml, near)
    return Matching(groups, seen_shares(prior, current, current_shape))


def _meetings(here: Components, there: Components) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the lesions of both dates at voxels that are marked on both."""
    places = places_of(there)
    start, stop = np.array(there.window.start), np.array(there.window.stop)
    for lesion, world in marked_of(here):
        voxels = nearest_voxels(world, there.affine_mm)
        inside = ((voxels >= start) & (voxels < stop)).all(axis=1)
        other = places[there.numbers[tuple((voxels[inside] - start).T)]]
        yield lesion[inside][other >= 0], other[other >= 0]


def _near(prior: Components, current: Components, shared: Shared, match_mm: float) -> Shared:
    """Pair lesions that share no voxel with any, each with one other, nearest pairs first."""
    met = {one for one, _ in shared}, {other for _, other in shared}
    lonely = [
        [index for index in range(len(components.lesions)) if index not in known]
        for components, known in zip((prior, current), met, strict=True)
    ]
    if not all(lonely) or match_mm <= 0:
        return {}
    old = [_outer(prior, index) for index in lonely[0]]
    trees = [KDTree(points) for points in old]
    low, high = (np.array([bound(points, axis=0) for points in old]) for bound in (np.min, np.max))
    # SciPy leaves out what lies at the bound itself.
    bound_mm = float(np.nextafter(match_mm, np.inf))
    found = []
    for index in lonely[1]:
        points = _outer(current, index)
        gap = np.maximum(low - points.max(axis=0), points.min(axis=0) - high).max(axis=1)
        for place in np.flatnonzero(gap <= match_mm).tolist():
            distance = float(np.min(trees[place].query(points, distance_upper_bound=bound_mm)[0]))
            if np.isfinite(distance):
                found.append((distance, lonely[0][place], index))
    pairs: Shared = {}
    taken: tuple[set[int], set[int]] = set(), set()
    for distance, one, other in sorted(found):
        if one not in taken[0] and other not in taken[1]:
            pairs[one, other] = distance
            taken[0].add(one)
            taken[1].add(other)
    return pairs


def _outer(components: Components, index: int) -> Floats:
    part = components.part(components.lesions[index])
    return np.asarray(outline(part).voxels @ part.axes_mm.T + part.affine_mm[:3, 3])


def _groups(counts: tuple[int, int], shared: Shared, near: Shared) -> tuple[Group, ...]:
    n_prior, n_current = counts
    total = n_prior + n_current
    if total == 0:
        return ()
    edges = sorted({*shared, *near})
    ones = [one for one, _ in edges]
    others = [n_prior + other for _, other in edges]
    graph = coo_array((np.ones(len(edges)), (ones, others)), shape=(total, total))
    _, owner = connected_components(graph, directed=False)
    members: dict[int, list[int]] = {}
    for node, group in enumerate(owner.tolist()):
        members.setdefault(group, []).append(node)
    found = []
    for nodes in members.values():
        prior = tuple(node for node in nodes if node < n_prior)
        current = tuple(node - n_prior for node in nodes if node >= n_prior)
        pairs = [(one, other) for one in prior for other in current]
        distances = [near[pair] for pair in pairs if pair in near]
        both = sum(shared.get(pair, 0.0) for pair in pairs)
        found.append(Group(prior, current, both, distances[0] if distances else None))
    return tuple(found)
