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
    markers = peaks(distance, inside, spacing, min_distance)
    if markers.max() < 2:
        return inside.astype(np.int32)
    structure = ndimage.generate_binary_structure(inside.ndim, rank)
    flooded: Parts = watershed(-distance, markers, mask=inside, connectivity=structure)  # type: ignore[no-untyped-call]
    return _ordered(flooded)


def peaks(
    height: NDArray[np.float64], inside: NDArray[np.bool_], spacing: tuple[float, ...], min_distance: float
) -> Parts:
    """Find what nothing within ``min_distance`` along every axis exceeds; a plateau is one peak.

    Of peaks that are as near as that the highest is kept, of equals the first. With a spacing of 1 and without plateaus
    these are the peaks of ``skimage.feature.peak_local_max``.

    Args:
        height: To look at.
        inside: Where peaks may lie.
        spacing: Size of a pixel along each axis.
        min_distance: Of two peaks along at least one axis, in the unit of ``spacing``.

    Returns:
        Int32, of the shape of ``height``: numbers from 1 where there are peaks, the highest first.
    """
    sides = [2 * int(min_distance / step) + 1 for step in spacing]
    is_peak = inside & (height == ndimage.maximum_filter(height, size=sides, mode="nearest"))
    plateaus, n = ndimage.label(is_peak, ndimage.generate_binary_structure(height.ndim, height.ndim))
    places = np.argwhere(plateaus)
    owner: Parts = plateaus[tuple(places.T)].astype(np.int32, copy=False)
    first = np.unique(owner, return_index=True)[1]
    heights = height[tuple(places[first].T)]
    kept = _apart(places * np.array(spacing), owner, np.lexsort((first, -heights)) + 1, min_distance)
    numbers = np.zeros(n + 1, np.int32)
    numbers[kept] = np.arange(1, len(kept) + 1)
    markers: Parts = numbers[plateaus]
    return markers


def _apart(
    places: NDArray[np.float64], owner: NDArray[np.int32], order: NDArray[np.intp], min_distance: float
) -> list[int]:
    """Return, in order, the owners none of whose places is nearer than ``min_distance`` to an owner before."""
    tree = KDTree(places)
    by_owner = np.argsort(owner, kind="stable")
    ends = np.searchsorted(owner[by_owner], np.arange(len(order) + 2))
    dropped = np.zeros(len(order) + 1, np.bool_)
    kept: list[int] = []
    for number in order.tolist():
        if dropped[number]:
            continue
        kept.append(number)
        for place in places[by_owner[ends[number] : ends[number + 1]]]:
            near = np.array(tree.query_ball_point(place, min_distance, p=np.inf))
            dropped[owner[near[np.abs(places[near] - place).max(axis=1) < min_distance]]] = True
    return kept


def _ordered(parts: Parts) -> Parts:
    numbers, first = np.unique(parts, return_index=True)
    numbers, first = numbers[numbers > 0], first[numbers > 0]
    table = np.zeros(int(parts.max(initial=0)) + 1, np.int32)
    table[numbers[np.argsort(first)]] = np.arange(1, len(numbers) + 1)
    ordered: Parts = table[parts]
    return ordered
