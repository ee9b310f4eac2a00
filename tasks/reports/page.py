"""``report.html``: one page that needs nothing beside it, a pure function of what it shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.reports.blocks import Section, Table
from tasks.reports.page_figures import figure
from tasks.reports.page_layout import laid_out, table_view
from tasks.reports.page_template import render


@dataclass(frozen=True, kw_only=True)
class Report:
    """What stands on the page of one product.

    Attributes:
        title: What was asked, such as the job's title.
        scene: Its id.
        lines: Below the heading.
        headline: A few numbers, units in their names.
        sections: What the analysis found.
        warnings: What a reader has to know before believing the numbers.
        record: Tables of name and value: how the product was made.
        files: Names beside the page.
        attribution: Whose data it is.
    """

    title: str
    scene: str
    lines: tuple[str, ...]
    headline: Mapping[str, Any]
    sections: tuple[Section, ...]
    warnings: tuple[str, ...] = ()
    record: tuple[Table, ...] = ()
    files: tuple[str, ...] = ()
    attribution: str = ""


def render_report(report: Report) -> bytes:
    """Lay a report out as HTML in UTF-8.

    Pictures are embedded; there is no script, no network, no time of day. All text is escaped: names of scenes, classes
    and errors come from outside.
    """
    return render(
        "report.html.j2",
        {
            "report": report,
            "figures": [figure(name, value) for name, value in report.headline.items()],
            "sections": laid_out(report.sections),
            "record": [table_view(table) for table in report.record],
        },
        pictures="data:",
    )
