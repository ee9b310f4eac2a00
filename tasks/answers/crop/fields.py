"""What a class map says of each field: majority, purity, what was seen of it, and what to doubt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from tasks.answers.crop.scanline import edges_of, inside
from tasks.geometry.box import Box, split

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
ReadLayer = Callable[[Box], NDArray[np.unsignedinteger[Any]]]
# One read of the mask serves all fields in it; fields across windows are summed.
_WINDOW = (2048, 2048)
_UNKNOWN_CONFIDENCE = 255


@dataclass(frozen=True, kw_only=True)
class FieldCounts:
    """Pixels per field; sums of whole numbers, so that no windowing changes them.

    Attributes:
        classes: ``(fields, classes)``, observed pixels of each class.
        pixels: ``(fields,)``, pixels of the map whose centre is inside, observed or not.
        inner: Like ``classes``, for the fields without their margin.
        inner_pixels: Like ``pixels``, for the fields without their margin.
        confidence_sum: ``(fields,)``, percent summed over pixels that have one.
        confidence_pixels: ``(fields,)``, how many those are.
        margin_sum: ``(fields,)``, percent by which the winning class leads at least, summed.
    """

    classes: Counts
    pixels: Counts
    inner: Counts
    inner_pixels: Counts
    confidence_sum: Counts
    confidence_pixels: Counts
    margin_sum: Counts


@dataclass(frozen=True)
class FieldRules:
    """When a field is flagged.

    Attributes:
        min_pixels: Fewer are ``small``.
        mixed_below: A purity below is ``mixed``.
        min_observed: A valid share below is ``little observed``.
    """

    min_pixels: int = 8
    mixed_below: float = 0.75
    min_observed: float = 0.5


@dataclass(frozen=True, kw_only=True)
class FieldRow:
    """One field; None where there is nothing to tell it from.

    Attributes:
        majority: Class number with most pixels; among equals the lowest.
        purity: Share of the observed pixels that have it.
        second: Class number with second most pixels.
        second_share: Share of the observed pixels that have that.
        vote_margin: ``purity - second_share``.
        pixels: Pixels of the map inside.
        observed_pixels: Those that were observed.
        valid_share: ``observed_pixels / pixels``.
        on_map_share: Share of the polygon's pixels that lie on the map.
        inner_pixels: Observed pixels of the field without its margin.
        inner_majority: Class number with most of those.
        inner_purity: Their share of it.
        probability_mean: Of the winning classes, 0-1.
        probability_margin_at_least: Mean of ``max(0, 2 p - 1)``: a pixel's lead over the second class is no less.
        flags: ``small``, ``mixed``, ``little observed``, ``partly outside``, ``no inner pixels``, ``not on the map``.
    """

    majority: int | None
    purity: float | None
    second: int | None
    second_share: float | None
    vote_margin: float | None
    pixels: int
    observed_pixels: int
    valid_share: float | None
    on_map_share: float
    inner_pixels: int
    inner_majority: int | None
    inner_purity: float | None
    probability_mean: float | None
    probability_margin_at_least: float | None
    flags: tuple[str, ...]


@dataclass(frozen=True)
class FieldShapes:
    """Polygons in pixel coordinates, x being columns and y rows.

    Attributes:
        whole: ``(fields,)``; none is empty.
        inner: The same fields without their margin; may be empty.
    """

    whole: NDArray[Any]
    inner: NDArray[Any]


def count_fields(
    fields: FieldShapes,
    shape: tuple[int, int],
    n_classes: int,
    read: ReadLayer,
    read_confidence: ReadLayer | None = None,
    window: tuple[int, int] = _WINDOW,
) -> FieldCounts:
    """Count the classes of a mask in every field, window by window.

    Args:
        fields: Where they lie.
        shape: Rows and columns of the mask.
        n_classes: Anything from here on is not observed.
        read: Reads a window of class numbers.
        read_confidence: Reads a window of percent, 255 where unknown.
        window: Rows and columns of one read.
    """
    n = len(fields.whole)
    counts = FieldCounts(
        classes=np.zeros((n, n_classes), np.int64),
        pixels=np.zeros(n, np.int64),
        inner=np.zeros((n, n_classes), np.int64),
        inner_pixels=np.zeros(n, np.int64),
        confidence_sum=np.zeros(n, np.int64),
        confidence_pixels=np.zeros(n, np.int64),
        margin_sum=np.zeros(n, np.int64),
    )
    edges, inner_edges = ([edges_of(field) for field in shapes] for shapes in (fields.whole, fields.inner))
    frames = shapely.bounds(fields.whole)
    tree = shapely.STRtree(fields.whole)
    for box in split(shape, window):
        (top, left), (bottom, right) = box.start, box.stop
        found = np.sort(tree.query(shapely.box(left, top, right, bottom)))
        if not len(found):
            continue
        labels = read(box)
        confidence = None if read_confidence is None else read_confidence(box)
        for field in found:
            part = _pixels_of(frames[field]).intersection(box)
            if part.is_empty:
                continue
            at = part.relative_to(box.start).slices
            own = inside(edges[field], part)
            kernel = inside(inner_edges[field], part)
            _count(counts, field, labels=labels[at], own=own, kernel=kernel)
            if confidence is not None:
                _weigh(counts, field, confidence[at][own & (labels[at] < n_classes)])
    return counts


def _pixels_of(frame: Floats) -> Box:
    west, north, east, south = frame
    return Box((int(np.floor(north)), int(np.floor(west))), (int(np.ceil(south)), int(np.ceil(east))))


def _count(
    counts: FieldCounts, field: int, labels: NDArray[Any], own: NDArray[np.bool_], kernel: NDArray[np.bool_]
) -> None:
    n_classes = counts.classes.shape[1]
    for chosen, classes, total in ((own, counts.classes, counts.pixels), (kernel, counts.inner, counts.inner_pixels)):
        found = np.bincount(np.minimum(labels[chosen], n_classes).astype(np.intp), minlength=n_classes + 1)
        classes[field] += found[:n_classes]
        total[field] += int(found.sum())


def _weigh(counts: FieldCounts, field: int, percent: NDArray[Any]) -> None:
    known = percent[percent != _UNKNOWN_CONFIDENCE].astype(np.int64)
    counts.confidence_sum[field] += int(known.sum())
    counts.confidence_pixels[field] += len(known)
    counts.margin_sum[field] += int(np.maximum(0, 2 * known - 100).sum())


def pixels_anywhere(pixels: NDArray[Any], shape: tuple[int, int], counted: Counts) -> Counts:
    """Return how many pixels each field would have on a map without end; only fields across the edge are looked at."""
    frames = shapely.bounds(pixels)
    whole = counted.copy()
    outside = (frames[:, 0] < 0) | (frames[:, 1] < 0) | (frames[:, 2] > shape[1]) | (frames[:, 3] > shape[0])
    # The area of a polygon in pixel coordinates is its pixels but for rounding, however far it reaches.
    whole[outside] = np.maximum(counted[outside], np.rint(shapely.area(pixels[outside])).astype(np.int64))
    return whole


def field_rows(counts: FieldCounts, whole_pixels: Counts, rules: FieldRules) -> list[FieldRow]:
    """Turn counts into what one says of a field.

    Args:
        counts: Of all fields.
        whole_pixels: As ``pixels_anywhere`` returns them.
        rules: When to flag.
    """
    return [_row(counts, field, int(whole_pixels[field]), rules) for field in range(len(counts.pixels))]


def _row(counts: FieldCounts, field: int, whole: int, rules: FieldRules) -> FieldRow:
    pixels, observed = int(counts.pixels[field]), int(counts.classes[field].sum())
    first, purity, second, second_share = _two_largest(counts.classes[field])
    inner_first, inner_purity, _, _ = _two_largest(counts.inner[field])
    known = int(counts.confidence_pixels[field])
    on_map = pixels / whole if whole else (1.0 if pixels else 0.0)
    inner_pixels = int(counts.inner[field].sum())
    valid = observed / pixels if pixels else None
    flags = {
        "not on the map": pixels == 0,
        "small": 0 < pixels < rules.min_pixels,
        "mixed": purity is not None and purity < rules.mixed_below,
        "little observed": valid is not None and valid < rules.min_observed,
        "partly outside": 0 < pixels < whole,
        "no inner pixels": pixels > 0 and inner_pixels == 0,
    }
    return FieldRow(
        majority=first,
        purity=purity,
        second=second,
        second_share=second_share,
        vote_margin=None if purity is None else purity - (second_share or 0.0),
        pixels=pixels,
        observed_pixels=observed,
        valid_share=valid,
        on_map_share=on_map,
        inner_pixels=inner_pixels,
        inner_majority=inner_first,
        inner_purity=inner_purity,
        probability_mean=int(counts.confidence_sum[field]) / known / 100.0 if known else None,
        probability_margin_at_least=int(counts.margin_sum[field]) / known / 100.0 if known else None,
        flags=tuple(name for name, raised in flags.items() if raised),
    )


def _two_largest(classes: Counts) -> tuple[int | None, float | None, int | None, float | None]:
    total = int(classes.sum())
    if total == 0:
        return None, None, None, None
    order = np.argsort(-classes, kind="stable")
    first, second = int(order[0]), int(order[1]) if len(order) > 1 and classes[order[1]] > 0 else None
    second_share = None if second is None else int(classes[second]) / total
    return first, int(classes[first]) / total, second, second_share
