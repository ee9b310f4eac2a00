"""How lesions changed between two dates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tasks.answers.tumour.components import Lesion
from tasks.answers.tumour.matching import Group, Matching

Kind: TypeAlias = Literal["new", "gone", "not seen", "grown", "shrunk", "stable", "merged", "split", "merged and split"]
# A lesion whose place the later scan did not observe whole may be there, where it was not observed.
WHOLE = 0.999


@dataclass(frozen=True, kw_only=True)
class Change:
    """What became of lesions.

    Attributes:
        kind: ``not seen`` where the later scan did not observe a lesion's whole place and shows nothing of it.
        prior: Ids at the earlier date.
        current: Ids at the later date.
        prior_ml: Their volumes added up; None where there was none.
        current_ml: The same at the later date; None where nothing was seen.
        change_ml: Current less prior; None where one of them is.
        change_percent: Of the prior volume; None where one of them is.
        overlap_ml: Of the current ones on the prior ones.
        distance_mm: Between matched lesions that do not overlap.
        seen_share: The share of the prior ones that the later scan observed; None where there was none.
        is_whole: Whether none of them reaches the edge of its volume or what was not observed.
    """

    kind: Kind
    prior: tuple[int, ...]
    current: tuple[int, ...]
    prior_ml: float | None
    current_ml: float | None
    change_ml: float | None
    change_percent: float | None
    overlap_ml: float
    distance_mm: float | None
    seen_share: float | None
    is_whole: bool


def changes(
    prior: Sequence[Lesion], current: Sequence[Lesion], matching: Matching, change_percent: float
) -> list[Change]:
    """Return what became of every lesion of both dates.

    Args:
        prior: Of the earlier date, largest first.
        current: Of the later date, largest first.
        matching: Of both.
        change_percent: Of the prior volume, from which a single lesion has grown or shrunk.
    """
    return [_change(prior, current, group=group, matching=matching, limit=change_percent) for group in matching.groups]


def _change(
    prior: Sequence[Lesion], current: Sequence[Lesion], group: Group, matching: Matching, limit: float
) -> Change:
    before, after = [prior[index] for index in group.prior], [current[index] for index in group.current]
    shares = [matching.seen_share[index] for index in group.prior]
    seen = min(shares) if shares else None
    prior_ml = sum(lesion.volume_ml for lesion in before) if before else None
    current_ml: float | None = sum(lesion.volume_ml for lesion in after)
    if not after and seen is not None and seen < WHOLE:
        current_ml = None
    change = None if prior_ml is None or current_ml is None else current_ml - prior_ml
    percent = None if change is None or prior_ml is None else 100.0 * change / prior_ml
    return Change(
        kind=_kind(len(before), len(after), percent, limit),
        prior=tuple(lesion.id for lesion in before),
        current=tuple(lesion.id for lesion in after),
        prior_ml=prior_ml,
        current_ml=current_ml,
        change_ml=change,
        change_percent=percent,
        overlap_ml=group.overlap_ml,
        distance_mm=group.distance_mm,
        seen_share=seen,
        is_whole=not any(lesion.touches_border for lesion in (*before, *after)),
    )


def _kind(n_prior: int, n_current: int, percent: float | None, limit: float) -> Kind:
    if n_prior == 0:
        return "new"
    if n_current == 0:
        return "not seen" if percent is None else "gone"
    if n_prior > 1:
        return "merged" if n_current == 1 else "merged and split"
    if n_current > 1:
        return "split"
    if percent is None or abs(percent) < limit:
        return "stable"
    return "grown" if percent > 0 else "shrunk"
