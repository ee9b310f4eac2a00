"""``OUT/nights/DATE.html``: what a night brought, on one page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tasks.files.durable import replace_file
from tasks.nights.night import Night, NightScene
from tasks.reports.page_figures import cell, figure, heading
from tasks.reports.page_template import render

FOLDER = "nights"
MISSED = "Missed nights"


@dataclass(frozen=True)
class _Row:
    scene: NightScene
    cells: tuple[str, ...]


@dataclass(frozen=True)
class _Warned:
    scene: str
    report: str
    warnings: tuple[str, ...]


def write_night(root: Path, title: str, night: Night) -> Path:
    """Write the page and the same as JSON, each in one step.

    Args:
        root: OUT.
        title: Of the job.
        night: What to tell.

    Returns:
        Path of the page.
    """
    folder = root / FOLDER
    folder.mkdir(exist_ok=True)
    replace_file(folder / f"{night.date}.json", (json.dumps(night.facts(), indent=2) + "\n").encode())
    page = folder / f"{night.date}.html"
    replace_file(page, render_night(title, night))
    return page


def render_night(title: str, night: Night) -> bytes:
    """Lay the page out: what is missing and wrong first, then what was made."""
    names = list(dict.fromkeys(name for scene in night.done for name in scene.headline))
    values = {
        "title": title,
        "night": night,
        # Nights without a run have a section of their own, and only where there are any.
        "counts": [figure(name, count) for name, count in counts(night).items() if name != MISSED],
        "columns": [heading(name) for name in names],
        "warned": [_Warned(scene.id, f"../{scene.id}/report.html", scene.warnings) for scene in _warned(night)],
        "rows": [
            _Row(scene, tuple(cell(scene.headline[name]) if name in scene.headline else "" for name in names))
            for scene in night.done
        ],
    }
    return render("night.html.j2", values, pictures="'none'")


def _warned(night: Night) -> list[NightScene]:
    return [scene for scene in night.scenes if scene.warnings]


def counts(night: Night) -> dict[str, int]:
    """Return how many scenes came to what."""
    return {
        "New": sum(scene.status == "new" for scene in night.scenes),
        "Superseded": sum(scene.status == "superseded" for scene in night.scenes),
        "Failed": len(night.failed),
        "Waiting": len(night.waiting),
        "Unchanged": night.unchanged,
        "With warnings": len(_warned(night)),
        "Alerts": len(night.alerts),
        MISSED: len(night.missed),
    }
