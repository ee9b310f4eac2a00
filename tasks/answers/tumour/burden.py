"""What is left at a date of the lesions of the baseline, as a response criterion counts it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tasks.answers.tumour.changes import WHOLE, Change
from tasks.answers.tumour.components import Lesion

_EDGE = "the edge of its scan or what was not observed there"


@dataclass(frozen=True, kw_only=True)
class Burden:
    """One date as a criterion sees it.

    Attributes:
        sum: Of the target lesions' diameters in mm or products in mm2; None where there are no targets or it cannot
            be told.
        targets_present: Whether any target lesion is still there; of lymph nodes, at 10 mm or more.
        others_present: Ids of lesions that were there at baseline, are no targets and are still there; of lymph nodes,
            at 10 mm or more.
        new: Ids of lesions that were not there at baseline and are large enough to count.
        reason: Why there is no sum, or why lesions cannot be called gone.
        new_note: What has to be known of lesions that are called new.
    """

    sum: float | None
    targets_present: bool
    others_present: tuple[int, ...] = ()
    new: tuple[int, ...] = ()
    reason: str = ""
    new_note: str = ""


@dataclass(frozen=True)
class Sizes:
    """What a criterion asks of the lesions of one date.

    Attributes:
        of: Diameters or products, by id; lesions that were not measured are left out.
        counts: Ids that count when they are new.
        normal: Ids of lymph nodes of normal size: as lesions they are no longer there.
        unseen_before: Ids of lesions whose place the baseline did not observe whole.
    """

    of: Mapping[int, float]
    counts: Collection[int]
    normal: Collection[int] = ()
    unseen_before: Collection[int] = ()


def first_burden(targets: Collection[int], total: float | None, lesions: Sequence[Lesion], others: set[int]) -> Burden:
    """Return the burden of a baseline; without a sum where a target was seen only in part.

    Args:
        targets: Ids.
        total: Of their sizes.
        lesions: Of the baseline.
        others: Ids of the lesions that are no targets and count.
    """
    left = tuple(lesion.id for lesion in lesions if lesion.id in others)
    cut = [lesion.id for lesion in lesions if lesion.id in set(targets) and lesion.touches_border]
    if not cut:
        return Burden(sum=total, targets_present=bool(targets), others_present=left)
    reason = f"target lesion(s) {_ids(cut)} of the baseline reach {_EDGE}: how large they are is not known"
    return Burden(sum=None, targets_present=bool(targets), others_present=left, reason=reason)


def burden(targets: Collection[int], found: Sequence[Change], sizes: Sizes) -> Burden:
    """Return what is left of the lesions of the baseline at a later date.

    A target's size is that of all lesions that it was matched with, each counted once: of a lesion that fell apart
    the parts are added, of lesions that grew together the whole counts once (RECIST 1.1, section 4.4.3). A target that
    either scan shows only in part has no size, and nothing is added up.

    Args:
        targets: Ids at baseline.
        found: What became of every lesion since baseline.
        sizes: Of this date's lesions.
    """
    chosen = set(targets)
    mine = {now for change in found if chosen & set(change.prior) for now in change.current}
    others = {now for change in found if change.prior and not chosen & set(change.prior) for now in change.current}
    new = {now for change in found if not change.prior for now in change.current if now in sizes.counts}
    why_no_sum = _why_no_sum(chosen, found, sorted(mine - set(sizes.of)))
    total = float(sum(sizes.of[key] for key in sorted(mine))) if chosen and not why_no_sum else None
    left = others - set(sizes.normal)
    reason = why_no_sum or _why_not_gone(found)
    present = not mine <= set(sizes.normal)
    return Burden(
        sum=total,
        targets_present=present,
        others_present=tuple(sorted(left)),
        new=tuple(sorted(new)),
        reason=reason,
        new_note=_new_note(new, sizes),
    )


def _why_no_sum(chosen: set[int], found: Sequence[Change], unsized: Sequence[int]) -> str:
    mine = [change for change in found if chosen & set(change.prior)]
    if any(change.kind == "not seen" for change in mine):
        return "a target lesion lies outside this scan or where it was not observed: not evaluable"
    partly = [change for change in mine if change.seen_share is not None and change.seen_share < WHOLE]
    if partly:
        ids = _ids(sorted(chosen & {one for change in partly for one in change.prior}))
        return f"target lesion(s) {ids} lie partly outside this scan or where it was not observed: not evaluable"
    cut = sorted(chosen & {one for change in mine if not change.is_whole for one in change.prior})
    if cut:
        return f"target lesion(s) {_ids(cut)} reach, at one of both dates, {_EDGE}: not evaluable"
    return f"lesion(s) {_ids(unsized)} were not measured (analysis.measured)" if unsized else ""


def _why_not_gone(found: Sequence[Change]) -> str:
    if any(change.kind == "not seen" for change in found):
        return "a lesion of the baseline lies outside this scan or where it was not observed: it cannot be called gone"
    if any(change.kind == "gone" and not change.is_whole for change in found):
        return f"a lesion of the baseline reached {_EDGE}: it cannot be called gone"
    return ""


def _new_note(new: set[int], sizes: Sizes) -> str:
    unseen = sorted(new & set(sizes.unseen_before))
    if not unseen:
        return ""
    return (
        f"of {_ids(unseen)} the baseline did not observe the whole place: RECIST 1.1 (section 4.3.5) calls such a "
        "lesion new, whether it is one is for a reader to say"
    )


def _ids(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))
