"""Patients over dates: their lesions compared, and where that is published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.analysis.tumour.patients import follow_patients, published_patients
from tasks.inputs.input import Input
from tasks.inputs.naming import PATIENTS
from tasks.intake.request import Request
from tasks.jobs.tumour import TumourAnalysis
from tasks.out.folder import OutFolder
from tasks.out.sightings import sightings_of
from tasks.reports.page_figures import number
from tasks.reports.trail import MOST_ROWS, NOTHING, Trail, left_out


def follow(request: Request, settings: TumourAnalysis, published: Sequence[Input], _now: str) -> Sequence[str]:
    """Compare the published scans of every patient who has two or more."""
    sightings = sightings_of(request.job, published)
    return follow_patients(request.out, request.job.title or request.job.job, settings, sightings).problems


def trails(out: OutFolder) -> tuple[Trail, ...]:
    """Return the patients who are followed."""
    found = list(published_patients(out).items())
    found.sort(key=lambda item: str(item[1]["headline"]["last_date"]), reverse=True)
    shown = found[:MOST_ROWS]
    header = ("Patient", "Dates", "First", "Newest", "Volume (mL)", "RECIST sum (mm)", "RECIST 1.1", "RANO")
    note = "Categories are proposed from the numbers of the masks, for a reader to confirm or to reject."
    trail = Trail(
        title="Patients over dates",
        header=header,
        rows=tuple(_patient_row(summary) for _, summary in shown),
        links=tuple(f"{PATIENTS}/{name}/report.html" for name, _ in shown),
        note=note + left_out(len(found)),
    )
    return (trail,)


def _patient_row(summary: Mapping[str, Any]) -> tuple[str, ...]:
    headline = summary["headline"]
    total = headline.get("recist_sum_mm")
    return (
        *(str(summary["patient"]), str(headline["dates"]), headline["first_date"], headline["last_date"]),
        *(number(headline["volume_ml"]), NOTHING if total is None else number(total)),
        *(headline["recist_proposed"], headline["rano_proposed"]),
    )
