"""What the Prefect UI shows of products: numbers and a quick-look per scene, a table and what needs a look per batch.

Ids of scenes go to the server, names of files do not: they may tell who the patient is.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any
from urllib.parse import quote

import httpx
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.exceptions import PrefectException

from flows.orchestration.orchestrator import FitReport
from models.printable import printable
from tasks.nights.night import Night, NightScene
from tasks.out.outcome import SceneOutcome
from tasks.reports.index_rank import Ranked, ranked
from tasks.reports.night import FOLDER, counts
from tasks.reports.page_figures import cell, figure, heading
from tasks.reports.pictures.fits import curves_picture
from tasks.reports.pictures.quicklook import quicklook
from tasks.reports.trail import Trail

logger = logging.getLogger(__name__)

# Of a run; the others are in its table. The server keeps every one, and a page shows all of a run.
MOST_PICTURES = 20
_MOST_WARNINGS = 20
_MOST_WARNED = 100
_MOST_TRAILS = 20
_MOST_NIGHT_SCENES = 100
_LONGEST_REASON = 60
# Where a web server shows the folder that holds OUT; browsers open no file: links from a page of the server.
PRODUCTS_URL = "SWATHE_PRODUCTS_URL"
_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+!|~$&-])")


def artifact_key(*parts: str) -> str:
    """Return a key that Prefect takes: lowercase letters, digits, dashes.

    Where that loses something of a name, six digits of its hash keep ``A_1`` and ``a-1`` apart.
    """
    text = "-".join(parts)
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if slug == text:
        return slug
    return f"{slug}-{hashlib.sha256(text.encode()).hexdigest()[:6]}".lstrip("-")


def tell_scene(job: str, outcome: SceneOutcome, out: Path) -> None:
    """Show a published product on the run's page: its numbers as a table; picture, warnings and links as text.

    Args:
        job: Name of the job.
        outcome: Of the scene, whose product is in place.
        out: OUT.
    """
    rows = [_figure_row(name, value) for name, value in outcome.headline.items()]
    product = out / outcome.scene
    text = scene_text(job, outcome, out, quicklook(product / "preview.png"))
    with best_effort(outcome.scene):
        create_table_artifact(rows, artifact_key(job, outcome.scene), f"{outcome.scene}: headline numbers")
        # Without a key: it stands on the page of its run, and the list of all artifacts does not carry its picture.
        create_markdown_artifact(text, description=f"{outcome.scene}: quick-look, warnings, files")


def tell_batch(job: str, outcomes: Sequence[SceneOutcome], out: Path, trails: Sequence[Trail] = ()) -> None:
    """Show a batch: a table with a row per scene, those to look at first on top, and which those are.

    Args:
        job: Name of the job.
        outcomes: Of the batch's scenes.
        out: OUT.
        trails: What is followed from scene to scene; each is a table of its own.
    """
    found = ranked(outcomes)
    names = list(dict.fromkeys(name for outcome in outcomes for name in outcome.headline))
    rows = [_batch_row(row, names) for row in found]
    with best_effort(f"batch of {job}"):
        create_table_artifact(
            rows, artifact_key(job, "batch", "scenes"), f"{job}: scenes, those to look at first on top"
        )
        for trail in trails:
            create_table_artifact(_trail_rows(trail, out), artifact_key(job, trail.title), f"{job}: {trail.title}")
        text = batch_text(job, found, out, trails)
        create_markdown_artifact(text, artifact_key(job, "batch"), f"{job}: what needs a look")


def scene_text(job: str, outcome: SceneOutcome, out: Path, picture: bytes | None) -> str:
    """Return what the UI says of a scene, in Markdown."""
    lines = [f"# {plain(outcome.scene)}", f"Job {plain(job)}, {outcome.status}."]
    lines += [f"- {plain(heading(name))}: **{plain(cell(value))}**" for name, value in outcome.headline.items()]
    if picture is not None:
        lines.append(f"\n![Preview of {plain(outcome.scene)}]({_data_uri(picture)})\n")
    if outcome.warnings:
        shown = [f"- {plain(warning)}" for warning in outcome.warnings[:_MOST_WARNINGS]]
        more = len(outcome.warnings) - len(shown)
        lines += ["\n## Before believing the numbers", *shown, *([f"- {more} more in the report"] if more else [])]
    files = ["report.html", "summary.json", "mask.tif", "mask.nii.gz"]
    lines += ["\n## Files", *(link(out, f"{outcome.scene}/{name}") for name in files if _is_there(out, outcome, name))]
    return "\n".join(lines) + "\n"


def batch_text(job: str, found: Sequence[Ranked], out: Path, trails: Sequence[Trail] = ()) -> str:
    """Return what the UI says of a batch, in Markdown: counts, failures, outliers, what is followed, where to look."""
    failed = [row.outcome for row in found if row.outcome.status == "failed"]
    outlying = [row for row in found if row.outlying]
    warned = [row.outcome for row in found if row.outcome.warnings]
    lines = [
        f"# Batch of {plain(job)}",
        f"{len(found)} scenes: {len(failed)} failed, {len(warned)} with warnings, {len(outlying)} outlying.",
        link(out, "index.html"),
        link(out, "batch.csv"),
    ]
    if failed:
        lines += ["\n## Failed", *(f"- **{plain(row.scene)}**: {plain(row.error or '')}" for row in failed)]
    if outlying:
        lines += ["\n## Far from the other scenes", *(_outlier_line(row) for row in outlying)]
    if warned:
        shown = [f"- **{plain(one.scene)}**: {plain('; '.join(one.warnings))}" for one in warned[:_MOST_WARNED]]
        more = len(warned) - len(shown)
        lines += ["\n## Before believing the numbers", *shown, *([f"- {more} more in index.html"] if more else [])]
    for trail in trails:
        shown = [f"- {plain(', '.join(_named_cells(trail, row)))}" for row in trail.rows[:_MOST_TRAILS]]
        more = len(trail.rows) - len(shown)
        lines += [f"\n## {plain(trail.title)}", *shown, *([f"- {more} more in index.html"] if more else [])]
    return "\n".join(lines) + "\n"


def tell_fits(report: FitReport) -> None:
    """Show fits of a network on the run's page: curves, scores, masks beside their reference."""
    with best_effort(f"fit of {report.model}"):
        create_markdown_artifact(fits_text(report), description=f"{report.model}: curves, scores, masks")


def fits_text(report: FitReport) -> str:
    """Return what the UI says of fits, in Markdown."""
    lines = [f"# {plain(report.model)}", f"Job {plain(report.job)}."]
    lines += [f"- {plain(name)}: **{plain(value)}**" for name, value in report.scores.items()]
    lines += ["\n## Curves", f"\n![Curves]({_data_uri(curves_picture(report.curves))})\n"]
    if report.examples:
        lines += ["\n## Picture, reference, mask"]
    for scene, picture in report.examples.items():
        lines += [f"\n**{plain(scene)}**", f"\n![{plain(scene)}]({_data_uri(picture)})\n"]
    return "\n".join(lines) + "\n"


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def tell_night(night: Night, out: Path) -> None:
    """Show a night's page on the run's page: counts, what failed, what was made, alerts."""
    with best_effort(f"night of {night.date}"):
        key = artifact_key(night.job, "night", night.date)
        create_markdown_artifact(night_text(night, out), key, f"{night.job}: night of {night.date}")


def night_text(night: Night, out: Path) -> str:
    """Return what the UI says of a night, in Markdown."""
    lines = [f"# {plain(night.job)} · night of {night.date}"]
    told = [f"**{count}** {name.lower()}" for name, count in counts(night).items() if count]
    lines += [", ".join(told) or "Nothing came.", ""]
    lines += [link(out, f"{FOLDER}/{night.date}.html"), link(out, "index.html")]
    lines += _section("Nights without a run", night.missed)
    lines += _section("Alerts", night.alerts)
    lines += _section("Failed", [f"{scene.id}: {scene.error}" for scene in night.failed])
    warned = [f"{scene.id}: {'; '.join(scene.warnings)}" for scene in night.scenes if scene.warnings]
    lines += _section("Before believing the numbers", warned)
    lines += _products(night.done)
    lines += _section("Waiting", list(night.waiting.values()))
    return "\n".join(lines) + "\n"


def _section(title: str, entries: Sequence[str]) -> list[str]:
    more = [f"- {len(entries) - _MOST_NIGHT_SCENES} more on the page"] if len(entries) > _MOST_NIGHT_SCENES else []
    shown = [f"- {plain(text)}" for text in entries[:_MOST_NIGHT_SCENES]]
    return [f"\n## {title}", *shown, *more] if entries else []


def _products(scenes: Sequence[NightScene]) -> list[str]:
    if not scenes:
        return []
    names = list(dict.fromkeys(name for scene in scenes for name in scene.headline))
    header = ["Scene", "Status", *map(heading, names)]
    rows = [header, ["---", "---", *["---:"] * len(names)]]
    for scene in scenes[:_MOST_NIGHT_SCENES]:
        numbers = [cell(scene.headline[name]) if name in scene.headline else "" for name in names]
        rows.append([plain(text) for text in (scene.id, scene.status, *numbers)])
    more = [f"\n{len(scenes) - _MOST_NIGHT_SCENES} more on the page"] if len(scenes) > _MOST_NIGHT_SCENES else []
    return ["\n## Products", "", *(f"| {' | '.join(row)} |" for row in rows), *more]


def _named_cells(trail: Trail, row: Sequence[str]) -> Iterator[str]:
    yield row[0]
    yield from (f"{name} {cell}" for name, cell in zip(trail.header[1:], row[1:], strict=True))


def _trail_rows(trail: Trail, out: Path) -> list[dict[str, str]]:
    rows = []
    for row, path in zip(trail.rows, trail.links, strict=True):
        opened = {"open": link(out, path).removeprefix("- ")} if path else {}
        rows.append({**dict(zip(trail.header, row, strict=True)), **opened})
    return rows


def _outlier_line(row: Ranked) -> str:
    told = (
        f"{heading(name)} {cell(row.outcome.headline[name])} (robust z {score:+.1f})"
        for name, score in row.outlying.items()
    )
    return f"- **{plain(row.outcome.scene)}**: {plain('; '.join(told))}"


def _is_there(out: Path, outcome: SceneOutcome, name: str) -> bool:
    return (out / outcome.scene / name).is_file()


def link(out: Path, relative: str) -> str:
    """Return a list entry that names a file of OUT, as a link where a web server shows it."""
    base = os.environ.get(PRODUCTS_URL, "").rstrip("/")
    if not base:
        return f"- `{(out / relative).as_posix()}`"
    return f"- [{plain(relative)}]({base}/{quote(out.name)}/{quote(relative)})"


def _batch_row(row: Ranked, names: Sequence[str]) -> dict[str, Any]:
    outcome = row.outcome
    numbers = {heading(name): cell(outcome.headline[name]) if name in outcome.headline else "" for name in names}
    outliers = ", ".join(f"{heading(name)} z {score:+.1f}" for name, score in row.outlying.items())
    # Errors stand in full beside the table; here they must not push the numbers out of sight.
    why = shorten(outcome.error or outliers or "; ".join(outcome.warnings), _LONGEST_REASON, placeholder="...")
    return {"scene": outcome.scene, "status": outcome.status, "look at it for": why, **numbers}


def _figure_row(name: str, value: Any) -> dict[str, Any]:  # noqa: ANN401 - anything that JSON can say
    shown = figure(name, value)
    return {"what": shown.label, "value": shown.value, "unit": shown.unit}


def plain(text: str) -> str:
    """Spell text so that Markdown shows it as it is."""
    return _MARKUP.sub(r"\\\1", printable(" ".join(text.split())))


@contextmanager
def best_effort(what: str) -> Iterator[None]:
    """A server that is away must not cost a product that is already published."""
    try:
        yield
    except (PrefectException, httpx.HTTPError) as error:
        logger.warning("%s: Prefect could not be told of the product: %s", what, type(error).__name__)
