"""``index.html``: the scenes of a batch on one page, those to look at first on top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.files.durable import replace_file
from tasks.out.outcome import SceneOutcome
from tasks.reports.blocks import Table
from tasks.reports.index_rank import CUTOFF, FEWEST, Ranked, ranked
from tasks.reports.page_figures import Figure, figure, heading
from tasks.reports.page_layout import table_view
from tasks.reports.page_template import render
from tasks.reports.trail import Trail

_REPORT, _PREVIEW = "report.html", "preview.png"


@dataclass(frozen=True)
class _Cell:
    figure: Figure
    is_number: bool
    score: str


@dataclass(frozen=True, kw_only=True)
class _Row:
    scene: str
    status: str
    error: str
    report: str
    preview: str
    cells: tuple[_Cell, ...]
    outlying: tuple[str, ...]
    warnings: tuple[str, ...]


class _TrailView:
    """A trail, which of its columns are numbers, and its rows with their links."""

    def __init__(self, trail: Trail) -> None:
        self.trail = trail
        self.numeric = table_view(Table(trail.title, trail.header, trail.rows)).numeric
        self.rows = tuple(zip(trail.rows, trail.links, strict=True))


def write_index(root: Path, title: str, outcomes: Sequence[SceneOutcome], trails: Sequence[Trail] = ()) -> None:
    """Write ``OUT/index.html`` in one step; all its links are relative.

    Args:
        root: OUT, which holds the products.
        title: Of the job.
        outcomes: Of the batch's scenes.
        trails: What is followed from scene to scene.
    """
    replace_file(root / "index.html", render_index(root, title, outcomes, trails))


def render_index(root: Path, title: str, outcomes: Sequence[SceneOutcome], trails: Sequence[Trail] = ()) -> bytes:
    """Lay the page out: failed scenes with their errors, then outliers, then the rest.

    A number is an outlier where its robust z-score is 3.5 or more, see ``tasks.reports.index_rank``.
    """
    names = list(dict.fromkeys(name for outcome in outcomes for name in outcome.headline))
    rows = [_row(root, names, found) for found in ranked(outcomes)]
    values = {
        "title": title,
        "counts": _counts(rows),
        "columns": [heading(name) for name in names],
        "warned": [row for row in rows if row.warnings],
        "failed": [row for row in rows if row.status == "failed"],
        "rows": [row for row in rows if row.status != "failed"],
        "trails": [_TrailView(trail) for trail in trails],
        "cutoff": CUTOFF,
        "fewest": FEWEST,
    }
    return render("index.html.j2", values, pictures="'self' file:")


def _counts(rows: Sequence[_Row]) -> list[Figure]:
    counted = {
        "Scenes": len(rows),
        "Failed": sum(row.status == "failed" for row in rows),
        "Outliers": sum(bool(row.outlying) for row in rows),
        "With warnings": sum(bool(row.warnings) for row in rows),
        "New": sum(row.status == "done" for row in rows),
        "Unchanged": sum(row.status == "skipped" for row in rows),
    }
    return [figure(name, count) for name, count in counted.items()]


def _row(root: Path, names: Sequence[str], found: Ranked) -> _Row:
    outcome = found.outcome
    cells = []
    for name in names:
        value = outcome.headline.get(name)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        shown = figure(name, value) if name in outcome.headline else Figure(name, "")
        cells.append(_Cell(shown, is_number, _score(found.outlying.get(name))))
    outlying = [f"{heading(name)}: z {_score(score)}" for name, score in found.outlying.items()]
    return _Row(
        scene=outcome.scene,
        status=outcome.status,
        error=outcome.error or "",
        report=_there(root, outcome.scene, _REPORT),
        preview=_there(root, outcome.scene, _PREVIEW),
        cells=tuple(cells),
        outlying=tuple(outlying),
        warnings=outcome.warnings,
    )


def _score(score: float | None) -> str:
    return "" if score is None else f"{score:+.1f}".replace("-", "\u2212")


def _there(root: Path, scene: str, name: str) -> str:
    """Return a relative path where a product, be it an earlier one, has that file."""
    return f"{scene}/{name}" if (root / scene / name).is_file() else ""
