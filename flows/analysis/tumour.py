"""``swathe analyse tumour``."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from flows.analysis.masks import MaskTask, analyse_masks
from flows.analysis.question import settings_asked
from tasks.analysis.masks.names import ids_of_masks, masks_in, require_there, what_decides
from tasks.analysis.masks.volume import VolumeFiles, open_volume_mask, volume_files
from tasks.analysis.subject import Findings, VolumeMask
from tasks.analysis.tumour.analyse import advance, present, read_study
from tasks.answers.tumour.series import FollowUp, History, Study
from tasks.errors import JobError
from tasks.jobs.job import Job
from tasks.jobs.source import VoxelSize
from tasks.jobs.tumour import TumourAnalysis
from tasks.out.outcome import SceneOutcome
from tasks.reports.legend import Caption

Run: TypeAlias = Callable[[Path], tuple[Findings, Mapping[str, Any], Caption]]


@dataclass(frozen=True)
class Question:
    """A job and what it asks about tumours.

    Attributes:
        job: None where the command names none.
        settings: Of its analysis, overrides applied.
        voxel_size: Which to believe where sform and pixdim of a header differ; None refuses.
    """

    job: Job | None
    settings: TumourAnalysis
    voxel_size: VoxelSize | None = None


def ask(job: str | None, overrides: Sequence[str], voxel_size: VoxelSize | None = None) -> Question:
    """Return what is asked.

    Args:
        job: A name in ``configs/``, a path, or None for the defaults.
        overrides: ``analysis.key=value``, as ``--set`` has them.
        voxel_size: Which to believe where sform and pixdim of a header differ; None takes the job's.

    Raises:
        JobError: When the job is none about tumours, or a key is wrong.
    """
    loaded, settings = settings_asked(job, ("tumour", TumourAnalysis), {}, overrides)
    return Question(loaded, settings, voxel_size or (loaded.source.voxel_size if loaded else None))


def analyse(
    masks: Sequence[str], images: Sequence[str], question: Question, out: Path, *, is_series: bool
) -> list[SceneOutcome]:
    """Analyse masks made elsewhere.

    Args:
        masks: Class maps, products, or folders of them.
        images: What was segmented, one per mask in their order, or none at all.
        question: What is asked.
        out: Where products go.
        is_series: Whether the masks are one patient's, oldest first: each is compared with those before it.

    Raises:
        JobError: When a path leads nowhere, a folder holds no mask, one mask is named twice, or there are not as many
            images as masks.
        StoreError: When the folder cannot be written to.
    """
    masks = masks_in(masks, "volume")
    require_there(images)
    if images and len(images) != len(masks):
        raise JobError(f"{len(images)} images for {len(masks)} masks. Give --image once per mask, in their order")
    ids = ids_of_masks(masks)
    pictures: Sequence[str | None] = images or [None] * len(masks)
    dates = [
        _Date(name, volume_files(Path(mask).absolute(), Path(image).absolute() if image else None))
        for name, mask, image in zip(ids, masks, pictures, strict=True)
    ]
    title = "Tumours" if question.job is None else question.job.title or question.job.job
    if is_series:
        series = _Series(dates, question)
        tasks = [_task(dates[: last + 1], question, partial(series.analyse, last)) for last in range(len(dates))]
    else:
        tasks = [_task([date], question, partial(_Series([date], question).analyse, 0)) for date in dates]
    return analyse_masks(out, title, tasks)


@dataclass(frozen=True)
class _Date:
    scene: str
    files: VolumeFiles


@dataclass
class _Series:
    """The dates of one patient; earlier ones are read again only where their product was not made in this run.

    Attributes:
        dates: Oldest first.
        question: What is asked.
        history: Of the dates that were read.
    """

    dates: Sequence[_Date]
    question: Question
    history: History | None = field(default=None, init=False)

    def analyse(self, last: int, folder: Path) -> tuple[Findings, Mapping[str, Any], Caption]:
        """Measure one date, and compare it with those before."""
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="spool-") as scratch:
            for earlier in range(0 if self.history is None else len(self.history.ids), last):
                self._read(earlier, Path(scratch))
            subject, found, follow_up = self._read(last, Path(scratch))
            findings = present(subject, found, follow_up=follow_up, settings=self.question.settings, folder=folder)
        job = self.question.job
        facts = {
            **({} if job is None else {"job": job.job}),
            "shape": list(subject.scene.frame.native_shape),
            "voxels": math.prod(subject.scene.frame.native_shape),
            "earlier_scenes": [date.scene for date in self.dates[:last]],
            "warnings": subject.notes,
        }
        return findings, facts, subject.caption

    def _read(self, index: int, scratch: Path) -> tuple[VolumeMask, Study, FollowUp | None]:
        date, settings = self.dates[index], self.question.settings
        spool = scratch / str(index)
        size = self.question.voxel_size
        subject = open_volume_mask(
            date.files, date.scene, job=self.question.job, label=settings.label, spool=spool, voxel_size=size
        )
        found = read_study(subject, settings)
        follow_up, self.history = advance(self.history, found, settings)
        return subject, found, follow_up


def _task(dates: Sequence[_Date], question: Question, run: Run) -> MaskTask:
    inputs: dict[str, str] = {}
    for age, date in enumerate(reversed(dates)):
        suffix = f" {age} before" if age else ""
        for role in ("mask", "image", "confidence"):
            path = getattr(date.files, role)
            if path is not None:
                inputs[role + suffix] = str(path)
    settings = what_decides(question.settings.model_dump(mode="json"), question.job, "volume")
    beside = {"scenes": [date.scene for date in dates], "voxel_size": question.voxel_size}
    return MaskTask(dates[-1].scene, inputs, settings | beside, run)
