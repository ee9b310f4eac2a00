"""The response category that the measurements of several dates propose, by RECIST 1.1 and by RANO."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tasks.answers.tumour.changes import Change

Category: TypeAlias = Literal["CR", "PR", "SD", "PD", "non-CR/non-PD"]

_RECIST_UNSEEN = (
    "unequivocal progression of non-target lesions",
    "whether a new lesion is unequivocal",
    "lesions outside the mask's class and outside the scans",
    "confirmation on a later scan",
)
_RANO_UNSEEN = (
    "T2/FLAIR, corticosteroids and clinical state",
    "whether the mask is of enhancing tumour without cysts and cavities",
    "the twelve weeks after radiotherapy, and confirmation after four weeks",
)


@dataclass(frozen=True)
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
    """

    sum: float | None
    targets_present: bool
    others_present: tuple[int, ...] = ()
    new: tuple[int, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Criterion:
    """The numbers of one set of response criteria.

    Attributes:
        name: With its publication.
        unit: Of the sum.
        partial_percent: Decrease from baseline that is a partial response.
        progress_percent: Increase from the nadir that is progression.
        progress_least: The same in the unit of the sum, both are needed.
        not_assessed: What the criterion asks and a mask cannot answer.
    """

    name: str
    unit: Literal["mm", "mm2"]
    partial_percent: float
    progress_percent: float
    progress_least: float
    not_assessed: tuple[str, ...]


RECIST = Criterion("RECIST 1.1 (Eisenhauer et al. 2009)", "mm", 30.0, 20.0, 5.0, _RECIST_UNSEEN)
RANO = Criterion("RANO (Wen et al. 2010)", "mm2", 50.0, 25.0, 0.0, _RANO_UNSEEN)


@dataclass(frozen=True)
class Response:
    """A proposed category, and what it follows from. No diagnosis, and no reading.

    Attributes:
        criterion: Its name.
        category: None where it cannot be proposed.
        reason: Which rule gave the category, or why there is none.
        unit: Of the sums.
        baseline: Sum at the first date.
        nadir: Smallest sum before this date, baseline included.
        nadir_date: Which date that was, counted from 0.
        current: Sum at this date.
        from_baseline_percent: Change; None where the baseline is 0.
        from_nadir_percent: Change; None where the nadir is 0.
        from_nadir: Change in ``unit``.
        new: Ids of new lesions that count.
        others_present: Ids of non-target lesions that are still there.
        not_assessed: What a reader has to add.
    """

    criterion: str
    category: Category | None
    reason: str
    unit: str
    baseline: float | None
    nadir: float | None
    nadir_date: int | None
    current: float | None
    from_baseline_percent: float | None
    from_nadir_percent: float | None
    from_nadir: float | None
    new: tuple[int, ...]
    others_present: tuple[int, ...]
    not_assessed: tuple[str, ...]


def propose(criterion: Criterion, dates: Sequence[Burden], has_targets: bool) -> Response:
    """Propose a category for the last of several dates.

    Progression (from the nadir, or a new lesion) goes before everything else; then complete and partial response
    from the baseline; else stable disease. Without target lesions at baseline only disappearance and new lesions
    can be told; without any lesion only new ones.

    Args:
        criterion: Whose numbers.
        dates: Baseline first.
        has_targets: Whether the baseline has target lesions.
    """
    last, base = dates[-1], dates[0].sum
    earlier = [(date.sum, index) for index, date in enumerate(dates[:-1]) if date.sum is not None]
    nadir, nadir_date = min(earlier) if earlier else (None, None)
    growth = None if last.sum is None or nadir is None else last.sum - nadir
    numbers = _Numbers(base, nadir, last.sum, growth)
    has_lesions = has_targets or bool(dates[0].others_present)
    if has_lesions or last.new:
        category, reason = _category(criterion, last, numbers, has_targets)
    else:
        category, reason = None, "the baseline holds no lesion"
    return Response(
        criterion=criterion.name,
        category=category,
        reason=reason,
        unit=criterion.unit,
        baseline=base,
        nadir=nadir,
        nadir_date=nadir_date,
        current=last.sum,
        from_baseline_percent=numbers.from_baseline_percent,
        from_nadir_percent=numbers.from_nadir_percent,
        from_nadir=growth,
        new=last.new,
        others_present=last.others_present,
        not_assessed=criterion.not_assessed,
    )


@dataclass(frozen=True)
class _Numbers:
    baseline: float | None
    nadir: float | None
    current: float | None
    growth: float | None

    @property
    def from_baseline_percent(self) -> float | None:
        if self.current is None or not self.baseline:
            return None
        return 100.0 * (self.current - self.baseline) / self.baseline

    @property
    def from_nadir_percent(self) -> float | None:
        return None if self.growth is None or not self.nadir else 100.0 * self.growth / self.nadir


def _category(criterion: Criterion, last: Burden, numbers: _Numbers, has_targets: bool) -> tuple[Category | None, str]:
    if last.new:
        return "PD", f"{len(last.new)} new lesion(s)"
    if has_targets and numbers.current is None:
        return None, last.reason
    if has_targets and _has_progressed(criterion, numbers):
        least = f" and {criterion.progress_least:g} {criterion.unit}" if criterion.progress_least else ""
        return "PD", f"at least {criterion.progress_percent:g} %{least} above the nadir"
    if last.targets_present or last.others_present:
        return _without_progress(criterion, last, numbers, has_targets)
    return (None, last.reason) if last.reason else ("CR", "no lesion of the baseline is left")


def _without_progress(
    criterion: Criterion, last: Burden, numbers: _Numbers, has_targets: bool
) -> tuple[Category | None, str]:
    if not has_targets:
        return "non-CR/non-PD", "no measurable lesion at baseline: lesions are left and none is new"
    change = numbers.from_baseline_percent
    if not last.targets_present:
        return "PR", "the target lesions are gone and others are left"
    if change is not None and change <= -criterion.partial_percent:
        return "PR", f"at least {criterion.partial_percent:g} % below baseline"
    return "SD", "neither enough decrease from baseline nor enough increase from the nadir"


def _has_progressed(criterion: Criterion, numbers: _Numbers) -> bool:
    if numbers.growth is None or numbers.growth <= 0 or numbers.growth < criterion.progress_least:
        return False
    percent = numbers.from_nadir_percent
    # From a nadir of nothing every increase is one of more than any percentage.
    return percent is None or percent >= criterion.progress_percent


def burden(
    targets: Collection[int],
    found: Sequence[Change],
    sizes: Mapping[int, float],
    counts: Collection[int],
    normal: Collection[int] = (),
) -> Burden:
    """Return what is left of the lesions of the baseline at a later date.

    A target's size is that of all lesions that it was matched with, each counted once: of a lesion that fell apart
    the parts are added, of lesions that grew together the whole counts once (RECIST 1.1, section 4.4.3).

    Args:
        targets: Ids at baseline.
        found: What became of every lesion since baseline.
        sizes: Of this date's lesions, by id.
        counts: Ids of this date that count when they are new.
        normal: Ids of this date's lymph nodes that are of normal size: as lesions they are no longer there.
    """
    chosen = set(targets)
    mine = {now for change in found if chosen & set(change.prior) for now in change.current}
    others = {now for change in found if change.prior and not chosen & set(change.prior) for now in change.current}
    new = {now for change in found if not change.prior for now in change.current if now in counts}
    unseen = {one for change in found if change.kind == "not seen" for one in change.prior}
    reason = ""
    if chosen & unseen:
        reason = "a target lesion lies outside this scan or where it was not observed: not evaluable"
    elif unseen:
        reason = (
            "a lesion of the baseline lies outside this scan or where it was not observed: it cannot be called gone"
        )
    unsized = sorted(mine - set(sizes))
    if unsized:
        reason = f"lesion(s) {unsized} were not measured (analysis.measured)"
    can_add = bool(chosen) and not unsized and not chosen & unseen
    total = float(sum(sizes[key] for key in sorted(mine))) if can_add else None
    left = others - set(normal)
    return Burden(total, not mine <= set(normal), tuple(sorted(left)), tuple(sorted(new)), reason)
