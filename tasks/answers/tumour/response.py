"""The response category that the measurements of several dates propose, by RECIST 1.1 and by RANO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tasks.answers.tumour.burden import Burden

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


@dataclass(frozen=True, kw_only=True)
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


RECIST = Criterion(
    name="RECIST 1.1 (Eisenhauer et al. 2009)",
    unit="mm",
    partial_percent=30.0,
    progress_percent=20.0,
    progress_least=5.0,
    not_assessed=_RECIST_UNSEEN,
)
RANO = Criterion(
    name="RANO (Wen et al. 2010)",
    unit="mm2",
    partial_percent=50.0,
    progress_percent=25.0,
    progress_least=0.0,
    not_assessed=_RANO_UNSEEN,
)


@dataclass(frozen=True, kw_only=True)
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
        category, reason = _category(criterion, dates, numbers, has_targets)
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


def _category(
    criterion: Criterion, dates: Sequence[Burden], numbers: _Numbers, has_targets: bool
) -> tuple[Category | None, str]:
    first, last = dates[0], dates[-1]
    if last.new:
        return "PD", "; ".join(filter(None, (f"{len(last.new)} new lesion(s)", last.new_note, last.reason)))
    if has_targets and (numbers.baseline is None or numbers.current is None):
        return None, first.reason if numbers.baseline is None else last.reason
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
