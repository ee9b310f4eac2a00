"""Cuts one connected part of a class map into the objects that touch in it, by watershed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree
from skimage.segmentation import watershed

Parts = NDArray[np.int32]
# A window of more pixels than this is left whole: the flood would take some 30 bytes of memory for each.
MOST_PIXELS = 1 << 24


def by_distance(inside: NDArray[np.bool_], spacing: tuple[float, ...], min_distance: float, rank: int) -> Parts:
    """Cut where the distance to the outside has its valleys.

    Floods from the peaks of the Euclidean distance (``skimage.segmentation.watershed`` on the negative distance). What
    comes out depends on the component alone, wherever the window lies in its scene.

    Args:
        inside: One component, in a window that reaches a pixel beyond it wherever the scene does; at the edge of the
            scene nothing ends.
        spacing: Size of a pixel along each axis.
        min_distance: Of two peaks along at least one axis, in the unit of ``spacing``.
        rank: Along how many axes neighbours may differ.

    Returns:
        Int32: parts from 1 by first pixel, 0 outside.
    """
    # The shortest way out of a window that is all inside is not known.
    if inside.all():
        return inside.astype(np.int32)
    distance = ndimage.distance_transform_edt(inside, sampling=spacing)
    seeds = peaks(distance, inside, spacing, min_distance)
    if len(seeds) < 2:
        return inside.astype(np.int32)
    markers = np.zeros(inside.shape, np.int32)
    markers[tuple(seeds.T)] = np.arange(1, len(seeds) + 1)
    structure = ndimage.generate_binary_structure(inside.ndim, rank)
    flooded: Parts = watershed(-distance, markers, mask=inside, connectivity=structure)  # type: ignore[no-untyped-call]
    return _ordered(flooded)


def peaks(
    distance: NDArray[np.float64], inside: NDArray[np.bool_], spacing: tuple[float, ...], min_distance: float
) -> NDArray[np.intp]:
    """Find pixels that nothing within ``min_distance`` along every axis exceeds, and thin out those that are as near.

    With a spacing of 1 these are the peaks of ``skimage.feature.peak_local_max``.

    Returns:
        ``(peaks, axes)``, the highest first; of equals the first in array order.
    """
    sides = [2 * int(min_distance / step) + 1 for step in spacing]
    found = np.argwhere(inside & (distance == ndimage.maximum_filter(distance, size=sides, mode="nearest")))
    found = found[np.argsort(-distance[tuple(found.T)], kind="stable")]
    places = found * np.array(spacing)
    tree = KDTree(places)
    dropped = np.zeros(len(found), np.bool_)
    for number in range(len(found)):
        if dropped[number]:
            continue
        near = np.array(tree.query_ball_point(places[number], min_distance, p=np.inf))
        apart = np.abs(places[near] - places[number]).max(axis=1)
        dropped[near[(apart < min_distance) & (near != number)]] = True
    return found[~dropped]


def _ordered(parts: Parts) -> Parts:
    numbers, first = np.unique(parts, return_index=True)
    numbers, first = numbers[numbers > 0], first[numbers > 0]
    table = np.zeros(int(parts.max(initial=0)) + 1, np.int32)
    table[numbers[np.argsort(first)]] = np.arange(1, len(numbers) + 1)
    ordered: Parts = table[parts]
    return ordered
