"""``swathe analyse crop`` and ``swathe analyse sample``."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from flows.analysis.masks import WRITTEN, MaskTask, analyse_masks
from flows.analysis.question import settings_asked
from tasks.analysis.crop.analyse import analyse_crop, named_classes
from tasks.analysis.crop.plan import PlannedSample, SampleWishes, plan_sample, write_plan
from tasks.analysis.crop.spraying import decide_spraying
from tasks.analysis.masks.names import id_of_mask, ids_of_masks, masks_in, require_there, what_decides
from tasks.analysis.masks.raster import open_raster_mask, raster_mask_files
from tasks.analysis.subject import Findings
from tasks.errors import JobError, SceneError
from tasks.jobs.crop import CropAnalysis
from tasks.jobs.job import Job
from tasks.out.folder import OutFolder
from tasks.out.outcome import SceneOutcome
from tasks.reports.legend import Caption
from tasks.scenes.vectors import column_names

logger = logging.getLogger(__name__)

# Options that say nothing without another one.
_DEPENDENT = {"fields": ("fields_crs", "fields_id", "declared"), "samples": ("samples_crs", "design")}


@dataclass(frozen=True)
class Question:
    """A job's title and what it asks about crops.

    Attributes:
        job: None where the command names none.
        settings: Of its analysis, overrides applied.
    """

    job: Job | None
    settings: CropAnalysis

    @property
    def title(self) -> str:
        """Of reports."""
        return "Crops" if self.job is None else self.job.title or self.job.job


def ask(job: str | None, options: Mapping[str, Any], overrides: Sequence[str]) -> Question:
    """Return what is asked.

    Args:
        job: A name in ``configs/``, a path, or None for the defaults.
        options: Keys of the analysis section that the command has options for; None leaves the job's.
        overrides: ``analysis.key=value``, as ``--set`` has them.

    Raises:
        JobError: When the job is none about crops, or a key is wrong.
    """
    question = Question(*settings_asked(job, ("crop", CropAnalysis), options, overrides))
    for needed, dependent in _DEPENDENT.items():
        idle = [key for key in dependent if options.get(key) is not None]
        if idle and getattr(question.settings, needed) is None:
            named = ", ".join("--" + key.replace("_", "-") for key in idle)
            raise JobError(f"{named}: of --{needed}, which is not given. Add --{needed}, or leave it out")
    return question


def analyse(masks: Sequence[str], question: Question, out: Path) -> list[SceneOutcome]:
    """Analyse masks made elsewhere.

    Args:
        masks: Class maps, products, or folders of them.
        question: What is asked.
        out: Where products go.

    Raises:
        JobError: When a path leads nowhere, a folder holds no mask, one mask is named twice, the fields have no such
            column, or no mask can be asked so.
        StoreError: When the folder cannot be written to.
    """
    masks = masks_in(masks, "raster")
    _require_files(question.settings)
    ids = ids_of_masks(masks)
    outcomes = analyse_masks(
        out, question.title, [_task(mask, name, question) for mask, name in zip(masks, ids, strict=True)]
    )
    if question.settings.weed:
        _tell_spraying(OutFolder(out.resolve()), outcomes)
    return outcomes


def _tell_spraying(out: OutFolder, outcomes: Sequence[SceneOutcome]) -> None:
    scenes = [outcome.scene for outcome in outcomes if outcome.status != "failed"]
    with out.locked():
        alerts = decide_spraying(out, scenes, datetime.now(UTC).isoformat(timespec="seconds"))
    # A line is no message: in the ledger they stay unsent, for the next run that has a server.
    for alert in alerts:
        logger.warning("%s", alert.payload["text"])


def sample(mask: str, question: Question, wishes: SampleWishes, out: Path) -> PlannedSample:
    """Draw reference samples for a mask, and write them for interpreters.

    Raises:
        SwatheError: When the mask or a wish is wrong; nothing is written then.
    """
    require_there([mask])
    subject = named_classes(open_raster_mask(mask, question.job, id_of_mask(mask)), question.settings)
    planned = plan_sample(subject, wishes)
    folder = OutFolder(out.resolve())
    with folder.locked():
        write_plan(folder.root, subject.id, planned)
    return planned


def parse_expectations(texts: Sequence[str]) -> dict[str, float]:
    """Read ``CLASS=SHARE`` texts.

    Raises:
        JobError: When one is written otherwise.
    """
    found = {}
    for text in texts:
        name, _, share = text.rpartition("=")
        try:
            found[name] = float(share)
        except ValueError as error:
            raise JobError(f"--expect {text}: write a class and a share, such as wheat=0.9") from error
        if not name:
            raise JobError(f"--expect {text}: write a class and a share, such as wheat=0.9")
    return found


def _require_files(settings: CropAnalysis) -> None:
    """Refuse files and columns of all masks that are not there; those of one mask are looked for in its turn."""
    require_there(path for path in (settings.fields, settings.samples) if path is not None and "{scene}" not in path)
    wanted = {"--declared": settings.declared, "--fields-id": settings.fields_id}
    columns = {option: name for option, name in wanted.items() if name is not None}
    if settings.fields is None or "{scene}" in settings.fields or not columns:
        return
    try:
        there = column_names(settings.fields)
    except SceneError:
        # What is wrong with the file is said of each mask.
        return
    for option, name in columns.items():
        if name not in there:
            raise JobError(f"{option}: {settings.fields} has no column '{name}'. It has: {', '.join(there) or 'none'}")


def _task(mask: str, name: str, question: Question) -> MaskTask:
    settings = question.settings.model_dump(mode="json", exclude={"fields", "samples"})
    tables = question.settings.files(name)
    return MaskTask(
        scene=name,
        inputs={**raster_mask_files(mask), **tables},
        settings=what_decides(settings, question.job, "raster"),
        analyse=partial(_analyse, mask, name, question),
        named=frozenset(tables),
    )


def _analyse(mask: str, name: str, question: Question, folder: Path) -> tuple[Findings, Mapping[str, Any], Caption]:
    subject = open_raster_mask(mask, question.job, name)
    findings = analyse_crop(subject, question.settings, folder)
    subject.write_item(folder, WRITTEN)
    facts = {
        "job": None if question.job is None else question.job.job,
        "mask": Path(mask).name,
        "shape": list(subject.grid.shape),
        "pixels": math.prod(subject.grid.shape),
    }
    return findings, facts, replace(subject.caption, title=f"{question.title} \u00b7 {name}")
