"""Which series a job takes, and of every other one why not."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tasks.dicom.findings import NO_VOLUME, Finding, SeriesError
from tasks.dicom.series import Found, Series
from tasks.dicom.suv import suv_factor
from tasks.jobs.source import DicomRule

# Spacings of slices that differ by less are equally thin.
_AS_THIN_MM = 0.01


@dataclass(frozen=True)
class Choice:
    """One volume, or what is none.

    Attributes:
        found: What it is.
        left_out: Why the job does not take it; None where it does.
        refusal: Why it cannot be segmented although the job takes it; None where it can.
    """

    found: Found
    left_out: Finding | None = None
    refusal: Finding | None = None


def choose(found: Sequence[Found], rule: DicomRule) -> list[Choice]:
    """Return a choice for each of what was found, in the same order.

    Args:
        found: Of any patients and studies.
        rule: The job's ``source.dicom``.
    """
    others = {id(each): finding for each in found if (finding := _not_wanted(each, rule)) is not None}
    wanted = [each for each in found if id(each) not in others]
    for each, finding in (*_later_volumes(wanted, rule), *_thicker(wanted, rule)):
        others.setdefault(id(each), finding)
    return [_choice(each, others.get(id(each)), rule) for each in found]


def _choice(found: Found, left_out: Finding | None, rule: DicomRule) -> Choice:
    if left_out is not None:
        return Choice(found, left_out=left_out)
    refusal = found.refusal
    if found.series is not None and rule.values == "suv":
        try:
            suv_factor(found.series)
        except SeriesError as error:
            refusal = error.finding
    return Choice(found, refusal=refusal)


def _not_wanted(found: Found, rule: DicomRule) -> Finding | None:
    if found.refusal is not None and found.refusal.code in NO_VOLUME:
        return found.refusal
    return next(_objections(found, rule), None)


def _objections(found: Found, rule: DicomRule) -> Iterator[Finding]:
    if rule.modality and found.modality not in rule.modality:
        yield Finding("wrong_modality", f"{found.modality}; the job takes {', '.join(rule.modality)}")
    if rule.description is not None and not re.search(rule.description, found.description):
        yield Finding("other_description", f"its description does not match '{rule.description}'")
    if rule.without is not None and re.search(rule.without, found.description):
        yield Finding("other_description", f"its description matches '{rule.without}'")
    if rule.plane is not None and found.plane not in (None, rule.plane):
        yield Finding("other_plane", f"{found.plane} slices; the job takes {rule.plane} ones")
    if not rule.derived and "DERIVED" in found.image_type:
        yield Finding("derived", "made from other images, by ImageType")
    if rule.thickest_mm is not None and found.series is not None and found.series.spacing_mm[0] > rule.thickest_mm:
        yield Finding(
            "too_thick", f"slices every {found.series.spacing_mm[0]:g} mm; the job takes up to {rule.thickest_mm:g} mm"
        )


def _later_volumes(wanted: Sequence[Found], rule: DicomRule) -> Iterator[tuple[Found, Finding]]:
    seen = set()
    for found in wanted:
        if rule.volumes == "first" and found.series_uid in seen:
            yield found, Finding("later_volume", "another volume of a series of which the job takes the first")
        seen.add(found.series_uid)


def _thicker(wanted: Sequence[Found], rule: DicomRule) -> Iterator[tuple[Found, Finding]]:
    if rule.take == "all":
        return
    by_study: dict[str, list[tuple[Found, Series]]] = defaultdict(list)
    for found in wanted:
        if found.series is not None:
            by_study[found.study_uid].append((found, found.series))
    for members in by_study.values():
        best = min((series for _, series in members), key=_thinness)
        for found, series in members:
            if series.series_uid != best.series_uid:
                text = f"slices every {series.spacing_mm[0]:g} mm; another series of the study is taken"
                yield found, Finding("not_the_thinnest", text)


def _thinness(series: Series) -> tuple[int, int, str]:
    return round(series.spacing_mm[0] / _AS_THIN_MM), -len(series.slices), series.series_uid
