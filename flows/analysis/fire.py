"""``swathe analyse fire``: fires in masks made elsewhere, and over their dates."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from flows.analysis.masks import WRITTEN, MaskTask, analyse_masks
from flows.analysis.question import settings_asked
from tasks.analysis.fire.analyse import analyse_fire
from tasks.analysis.fire.events import fold_fires
from tasks.analysis.following import trails_of
from tasks.analysis.masks.names import ids_of_masks, masks_in, what_decides
from tasks.analysis.masks.raster import open_raster_mask, raster_mask_files
from tasks.analysis.subject import Findings
from tasks.errors import JobError
from tasks.inputs.listing import list_inputs
from tasks.inputs.naming import USUAL_DATES, dates_of, site_of
from tasks.jobs.fire import FireAnalysis
from tasks.jobs.job import Job
from tasks.out.folder import OutFolder
from tasks.out.outcome import SceneOutcome
from tasks.out.sightings import Sighting
from tasks.products.cog import RasterProductSpec, write_cog
from tasks.reports.index import write_index
from tasks.reports.legend import Caption

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Question:
    """What is asked about fires.

    Attributes:
        settings: Of the analysis.
        job: Names bands, dates and classes; None where the command names none.
        images: Files by role, by scene.
        site: Of all masks; None where it is their names without the date.
    """

    settings: FireAnalysis
    job: Job | None
    images: Mapping[str, Mapping[str, str]]
    site: str | None


def ask(job: str | None, images: Sequence[str], site: str | None, overrides: Sequence[str]) -> Question:
    """Return what is asked.

    Args:
        job: A name in ``configs/``, a path, or None for the defaults.
        images: Inputs that hold the pictures, matched with masks by the id of the scene; they need a job.
        site: What all masks show.
        overrides: ``analysis.key=value``, as ``--set`` has them.

    Raises:
        JobError: When the job is none about fires, or pictures are given without a job or cannot be used.
    """
    if job is None and images:
        raise JobError("--images: without a job nobody knows which band is which. Name one with --job")
    loaded, settings = settings_asked(job, ("fire", FireAnalysis), {}, overrides)
    return Question(settings, loaded, {} if loaded is None else _pictures(images, loaded), site)


def _pictures(images: Sequence[str], job: Job) -> dict[str, Mapping[str, str]]:
    found: dict[str, Mapping[str, str]] = {}
    for item in list_inputs(images, job) if images else []:
        if item.error is not None:
            raise JobError(f"--images: {item.error}")
        found[item.id] = item.files
    return found


def analyse(masks: Sequence[str], question: Question, out: Path) -> list[SceneOutcome]:
    """Analyse masks made elsewhere, and follow their fires where names carry dates.

    Args:
        masks: Class maps, products, or folders of them.
        question: What is asked.
        out: Where products go; events go to ``fires`` in it.

    Raises:
        JobError: When a path leads nowhere, a folder holds no mask, one mask is named twice, pictures are given and a
            mask has none, or no mask can be asked so.
        StoreError: When the folder cannot be written to.
    """
    masks = masks_in(masks, "raster")
    ids = ids_of_masks(masks)
    without = [name for name in ids if question.images and name not in question.images]
    if without:
        raise JobError(
            f"--images: no pictures of {', '.join(without)}; found those of {', '.join(question.images)}. Masks and "
            "pictures are matched by the id of the scene: name them alike, or leave --images out"
        )
    job = question.job
    title = "Fires" if job is None else job.title or job.job
    outcomes = analyse_masks(out, title, [_task(mask, name, question) for mask, name in zip(masks, ids, strict=True)])
    published = [outcome.scene for outcome in outcomes if outcome.status != "failed"]
    folder = OutFolder(out.resolve())
    if _follow(published, question, folder):
        write_index(folder.root, title, outcomes, trails_of(folder, question.settings))
    return outcomes


def _follow(scenes: Sequence[str], question: Question, out: OutFolder) -> bool:
    """Fold the fires of masks whose names carry dates; tell whether there are any."""
    patterns = question.job.source.dates if question.job else USUAL_DATES
    sightings = []
    for scene in scenes:
        dates = dates_of(scene, patterns)
        if dates:
            site = question.site or site_of(scene, patterns)
            sightings.append(Sighting(scene, site, dates.get("post") or max(dates.values())))
    if not sightings:
        return False
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with out.locked():
        followed = fold_fires(out, question.settings, sightings, now)
    for problem in followed.problems:
        logger.error("%s", problem)
    # A line is no message: in the ledger they stay unsent.
    for alert in followed.alerts:
        logger.warning("alert %s: %s", alert.kind, alert.payload["text"])
    return True


def _task(mask: str, name: str, question: Question) -> MaskTask:
    files = question.images.get(name, {})
    settings = question.settings.model_dump(mode="json", exclude=set(question.settings.later_keys))
    return MaskTask(
        scene=name,
        inputs={**raster_mask_files(mask), **files},
        settings=what_decides(settings, question.job, "raster"),
        analyse=partial(_analyse, Path(mask).absolute(), name, question, files),
    )


def _analyse(
    mask: Path, name: str, question: Question, files: Mapping[str, str], folder: Path
) -> tuple[Findings, Mapping[str, Any], Caption]:
    subject = open_raster_mask(mask, question.job, name, files or None)
    findings = analyse_fire(subject, question.settings, folder)
    write_cog(subject.read, folder / "mask.tif", RasterProductSpec(subject.grid, "mask", subject.classes))
    subject.write_item(folder, WRITTEN)
    return findings, {"shape": subject.grid.shape}, subject.caption
