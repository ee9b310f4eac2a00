"""``swathe analyse structures``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from flows.analysis.masks import WRITTEN, MaskTask, analyse_masks
from flows.analysis.question import settings_asked
from tasks.analysis.masks.names import ids_of_masks, masks_in, what_decides
from tasks.analysis.masks.raster import open_raster_mask, raster_mask_files
from tasks.analysis.structures import analyse_structures
from tasks.analysis.subject import Findings
from tasks.jobs.job import Job
from tasks.jobs.structures import StructuresAnalysis
from tasks.out.outcome import SceneOutcome
from tasks.reports.legend import Caption


@dataclass(frozen=True)
class Question:
    """A job, and what is asked about structures.

    Attributes:
        job: None where the command names none.
        settings: Of its analysis, overrides applied.
    """

    job: Job | None
    settings: StructuresAnalysis


def ask(job: str | None, spacing_mm: tuple[float, float] | None, overrides: Sequence[str]) -> Question:
    """Return what is asked.

    Args:
        job: A name in ``configs/``, a path, or None for the defaults.
        spacing_mm: From one row, and from one column, to the next; None takes the job's, or what files say.
        overrides: ``analysis.key=value``, as ``--set`` has them.

    Raises:
        JobError: When the job is none about structures, or a key is wrong.
    """
    options = {"spacing_mm": None if spacing_mm is None else list(spacing_mm)}
    return Question(*settings_asked(job, ("structures", StructuresAnalysis), options, overrides))


def analyse(masks: Sequence[str], question: Question, out: Path) -> list[SceneOutcome]:
    """Analyse masks made elsewhere.

    Args:
        masks: Class maps, products, or folders of them.
        question: What is asked.
        out: Where products go.

    Raises:
        JobError: When a path leads nowhere, a folder holds no mask, or one mask is named twice.
        StoreError: When the folder cannot be written to.
    """
    masks = masks_in(masks, "raster")
    title = "Structures" if question.job is None else question.job.title or question.job.job
    ids = ids_of_masks(masks)
    return analyse_masks(out, title, [_task(mask, name, question) for mask, name in zip(masks, ids, strict=True)])


def _task(mask: str, name: str, question: Question) -> MaskTask:
    return MaskTask(
        scene=name,
        inputs=raster_mask_files(mask),
        settings=what_decides(question.settings.model_dump(mode="json"), question.job, "raster"),
        analyse=partial(_analyse, mask, name, question),
    )


def _analyse(mask: str, name: str, question: Question, folder: Path) -> tuple[Findings, Mapping[str, Any], Caption]:
    subject = open_raster_mask(mask, question.job, name)
    findings = analyse_structures(subject, question.settings, folder)
    subject.write_item(folder, WRITTEN)
    facts = {
        "job": None if question.job is None else question.job.job,
        "mask": Path(mask).name,
        "shape": list(subject.grid.shape),
    }
    return findings, facts, subject.caption
