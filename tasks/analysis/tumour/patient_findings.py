"""One patient's dates: what the summary and the page of the patient say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from tasks.analysis.subject import Findings
from tasks.analysis.tumour.answers import follow_up_answers
from tasks.analysis.tumour.report import NO_DIAGNOSIS, follow_up_sections
from tasks.answers.rounding import rounded, written
from tasks.answers.tumour.series import FollowUp
from tasks.reports.blocks import Block, Paragraph, Section, Table
from tasks.reports.pictures.charts import Line, line_chart

_NONE = "\u2013"
_SUM = "Sum of the target lesions' diameters"


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One date of a patient.

    Attributes:
        scene: Id of the scan.
        date: ISO 8601.
        lesions: How many.
        volume_ml: Of all of them.
        recist_sum_mm: Of the baseline's targets; None where it cannot be told.
        rano_sum_mm2: The same by RANO.
        follow_up: Since the earlier dates; None at the baseline.
    """

    scene: str
    date: str
    lesions: int
    volume_ml: float
    recist_sum_mm: float | None
    rano_sum_mm2: float | None
    follow_up: FollowUp | None


def patient_findings(visits: Sequence[Visit]) -> Findings:
    """Return what is said of a patient.

    Args:
        visits: Baseline first; two or more.
    """
    steps = [(visit, visit.follow_up) for visit in visits if visit.follow_up is not None]
    sections = [Section("Over the dates", _overview(visits))]
    for visit, follow_up in reversed(steps):
        blocks = [block for section in follow_up_sections(follow_up) for block in section.blocks]
        # Said once, above.
        kept = [block for block in blocks if block != Paragraph(NO_DIAGNOSIS, "note")]
        sections.append(Section(f"{visit.date}: {visit.scene}", tuple(kept)))
    answers = {"dates": [_answers(visit) for visit in visits]}
    return Findings(_headline(visits), answers, tuple(sections), _warnings(visits))


def _headline(visits: Sequence[Visit]) -> dict[str, Any]:
    last = visits[-1]
    headline: dict[str, Any] = {"dates": len(visits), "first_date": visits[0].date, "last_date": last.date}
    headline["volume_ml"] = rounded(last.volume_ml, 4)
    headline["lesions"] = last.lesions
    if last.recist_sum_mm is not None:
        headline["recist_sum_mm"] = rounded(last.recist_sum_mm, 2)
    if last.follow_up is not None:
        headline["recist_proposed"] = last.follow_up.recist.category or "none"
        headline["rano_proposed"] = last.follow_up.rano.category or "none"
    return headline


def _answers(visit: Visit) -> dict[str, Any]:
    found: dict[str, Any] = {
        "scene": visit.scene,
        "date": visit.date,
        "lesions": visit.lesions,
        "volume_ml": float(f"{visit.volume_ml:.9g}"),
    }
    return found | ({} if visit.follow_up is None else follow_up_answers(visit.follow_up))


def _overview(visits: Sequence[Visit]) -> tuple[Block, ...]:
    first = date.fromisoformat(visits[0].date)
    days = [float((date.fromisoformat(visit.date) - first).days) for visit in visits]
    ticks = [visit.date for visit in visits]
    volume = Line("volume of all lesions", tuple(visit.volume_ml for visit in visits))
    blocks: list[Block] = [
        Paragraph(NO_DIAGNOSIS, "note"),
        line_chart(
            "Volume of all lesions", "mL", at=days, ticks=ticks, lines=[volume], caption="Volume of all lesions."
        ),
    ]
    if any(visit.recist_sum_mm is not None for visit in visits):
        sums = Line("sum of diameters", tuple(visit.recist_sum_mm for visit in visits))
        blocks.append(line_chart(_SUM, "mm", at=days, ticks=ticks, lines=[sums], caption=f"{_SUM}, RECIST 1.1."))
    header = ("Date", "Scan", "Lesions", "Volume (mL)", "RECIST sum (mm)", "RANO sum (mm²)", "RECIST 1.1", "RANO")
    note = "Categories are proposed from the numbers of the mask; a dash under a sum has its reason at its date below."
    return (*blocks, Table("Dates of the patient", header, tuple(map(_row, visits)), note))


def _row(visit: Visit) -> tuple[str, ...]:
    step = visit.follow_up
    categories = ("baseline",) * 2 if step is None else (step.recist.category, step.rano.category)
    return (
        *(visit.date, visit.scene, str(visit.lesions), written(visit.volume_ml, 2)),
        _NONE if visit.recist_sum_mm is None else written(visit.recist_sum_mm, 1),
        _NONE if visit.rano_sum_mm2 is None else written(visit.rano_sum_mm2, 0),
        *(category or "none" for category in categories),
    )


def _warnings(visits: Sequence[Visit]) -> tuple[str, ...]:
    """Return why the newest date has no category, where it has none."""
    last = visits[-1].follow_up
    if last is None:
        return ()
    return tuple(
        f"{visits[-1].date}: no category by {response.criterion}: {response.reason}"
        for response in (last.recist, last.rano)
        if response.category is None
    )
