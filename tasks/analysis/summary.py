"""What every analysis leaves behind: ``summary.json`` for programs, ``report.html`` for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.card import Card
from tasks.analysis.subject import Findings
from tasks.reports.blocks import Picture, Section
from tasks.reports.legend import Caption
from tasks.reports.page import Report, render_report
from tasks.reports.page_record import record_tables

_SUMMARY, _PREVIEW = "summary.json", "preview.png"


def write_findings(
    folder: Path,
    findings: Findings,
    facts: Mapping[str, Any],
    caption: Caption,
    card: Card | None = None,
    beside: Sequence[str] = (),
) -> None:
    """Write both files; they are pure functions of the arguments and of the files that the analysis has written.

    Args:
        folder: The product, not yet published, with what the analysis has written.
        findings: Of the analysis.
        facts: Where the mask comes from, for ``summary.json``; ``scene`` and ``warnings`` have to be there.
        caption: Title, lines and attribution of the page.
        card: Of the model that segmented; None where the mask was made elsewhere.
        beside: Names of the files that others write at the same time, or later.
    """
    summary = {**facts, "headline": findings.headline, **findings.answers}
    (folder / _SUMMARY).write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n")
    stems = tuple(f"{name.split('.')[0]}." for name in beside)
    found = {path.name for path in folder.iterdir()}
    names = {name for name in found if not name.startswith((*stems, "."))} | set(beside)
    report = Report(
        title=caption.title.removesuffix(f" · {facts['scene']}"),
        scene=str(facts["scene"]),
        lines=caption.lines,
        headline=findings.headline,
        sections=_with_preview(findings.sections, folder, caption.title),
        warnings=tuple(facts["warnings"]),
        record=record_tables(facts, card),
        files=tuple(sorted(names)),
        attribution=caption.attribution,
    )
    (folder / "report.html").write_bytes(render_report(report))


def _with_preview(sections: tuple[Section, ...], folder: Path, title: str) -> tuple[Section, ...]:
    """Begin with the preview where the analysis has no picture of its own."""
    has_picture = any(isinstance(block, Picture) for section in sections for block in section.blocks)
    if has_picture or not (folder / _PREVIEW).is_file():
        return sections
    picture = Picture((folder / _PREVIEW).read_bytes(), f"Preview of {title}: the picture, and the mask laid over it")
    return (Section("At a glance", (picture,)), *sections)
