"""``swathe train``: cross-validate, fit on all scenes, write weights and card together."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from flows.orchestration.current import orchestrator, step
from flows.orchestration.orchestrator import FitReport
from flows.training.disagreement import bfloat16_disagreement, quiet_models, tiled_disagreement
from flows.training.progress import shown
from flows.training.scoring import Figures, Scored, refuse_collapse
from models.card import Card, Training
from tasks.errors import JobError, UndeclaredError
from tasks.files.declared import lies_below
from tasks.files.fingerprint import dataset_sha256, file_sha256
from tasks.geometry.box import Box
from tasks.inputs.listing import list_inputs
from tasks.inputs.naming import site_of
from tasks.intake.describe import describe, identify
from tasks.intake.request import Request, digest
from tasks.jobs.job import Job, ModelChoice
from tasks.jobs.training import TrainingJob, load_training_job
from tasks.out.folder import OutFolder
from tasks.samples.scenes import data_folder
from tasks.segment.memory import available_bytes
from tasks.training.labelled import LabelledScene, layer_bytes, read_labelled
from tasks.training.splits import Split

if TYPE_CHECKING:
    from models.training.settings import AnySample, Curves, FitResult, TrainSettings

logger = logging.getLogger(__name__)

# Of the memory that is available, for the scenes of a fit.
_MOST_HELD = 0.25


@dataclass(frozen=True)
class Subjects:
    """What is fitted and scored.

    Attributes:
        scenes: All of them.
        split: How they are parted.
        fits: Folder of checkpoints and logs.
    """

    scenes: list[LabelledScene]
    split: Split
    fits: Path

    def named(self, names: Collection[str]) -> list[LabelledScene]:
        """Return some of the scenes."""
        return [scene for scene in self.scenes if scene.name in names]


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a training run left.

    Attributes:
        name: Of the model.
        folder: Holds its weights and card.
        fits: Holds checkpoints and logs.
        weights: File of the weights, in that folder.
        figures: Of cross-validation; None without folds.
        tiled_disagreement: Share of labels that tiles change.
        bfloat16_disagreement: Share of labels that bfloat16 changes; None where it was not measured.
    """

    name: str
    folder: Path
    fits: Path
    weights: str
    figures: Figures | None
    tiled_disagreement: float | None
    bfloat16_disagreement: float | None


def train_model(job_name: str, out: Path, overrides: list[str]) -> TrainingResult:
    """Fit the network of a training job.

    Args:
        job_name: A name in ``configs/`` or a path.
        out: Folder for weights and card.
        overrides: ``key=value`` settings.

    Raises:
        JobError: When the job cannot be run as written.
        SceneError: When a scene or its labels cannot be read.
        LeakError: When something of a scene that is held back would be fitted.
        FitError: When a fitted network does not tell classes apart; nothing is written then.
    """
    job = load_training_job(job_name, tuple(overrides))
    card = _template(job)
    _check(job, card)
    # Decompressed volumes stay until every fold is scored.
    with OutFolder(out).locked(), tempfile.TemporaryDirectory(prefix="swathe-training-") as scratch:
        scenes = read_scenes(job, card, Path(scratch))
        split = Split.of(job.job, scenes, job.training)
        fits = out / "fits" / _fit_key(job, card, scenes)
        logger.info("checkpoints and logs: %s", fits)
        figures = cross_validation(job, card, Subjects(scenes, split, fits)) if job.folds else None
        written, figures = fit_and_write(job, card, subjects=Subjects(scenes, split, fits), figures=figures, out=out)
    return TrainingResult(
        name=card.name,
        folder=out,
        fits=fits,
        weights=written.weights.file if written.weights else "",
        figures=figures,
        tiled_disagreement=written.tiling.disagreement,
        bfloat16_disagreement=written.bfloat16_disagreement,
    )


def _fit_key(job: TrainingJob, card: Card, scenes: list[LabelledScene]) -> str:
    """Return what fits have in common that may go on with one another's checkpoints."""
    where = {"threads", "device", "loaders", "checkpoint_s"}
    settings = {key: value for key, value in job.settings.items() if key not in where}
    return digest(
        {
            "job": job.model_copy(update={"settings": settings}).model_dump(mode="json"),
            "card": card.model_dump(mode="json", exclude={"training"}),
            "scenes": {scene.name: (*scene.files_sha256, scene.labels_sha256) for scene in scenes},
            "versions": [version(name) for name in ("swathe", "torch", "pytorch-lightning", "monai")],
        }
    )


def _template(job: TrainingJob) -> Card:
    try:
        return Card.model_validate(job.card)
    except ValidationError as error:
        raise JobError(f"{job.job}: 'card' is not one: {error}") from error


def _check(job: TrainingJob, card: Card) -> None:
    """Refuse before a scene is read what would fail hours later."""
    fit_settings(job)
    if job.baseline and card.n_classes > 2:
        raise JobError(f"{job.job}: 'baseline' marks one class, and the card has {card.n_classes - 1}: leave it out")
    if job.baseline and job.baseline.channel >= len(card.channels):
        raise JobError(f"{job.job}: 'baseline.channel': got {job.baseline.channel}; 0 to {len(card.channels) - 1}")


@step("read scenes")
def read_scenes(job: TrainingJob, card: Card, scratch: Path) -> list[LabelledScene]:
    """Read every labelled scene that the job does not leave out."""
    folder = _folder(job)
    plain = segmenting_job(job)
    request = Request(job=plain, card=card, card_folder=None, out=OutFolder(scratch))
    items = [item for item in list_inputs([str(folder)], plain) if item.id not in job.training.exclude]
    described = []
    for item in items:
        if item.error is not None:
            raise JobError(f"{job.job}: {item.error}")
        described.append(describe(request, item))
    n_bytes = sum(map(layer_bytes, described))
    hold = n_bytes <= _MOST_HELD * available_bytes()
    if not hold and job.kind == "raster":
        logger.info("%.1f GiB of scenes: windows are read from disk as they are needed", n_bytes / 2**30)
    scenes = []
    for item, scene in zip(items, described, strict=True):
        labels = folder / job.training.labels.replace("{scene}", item.id)
        if not lies_below(labels, [folder]):
            raise UndeclaredError(f"{labels}: a link out of {folder}. Put the labels themselves there")
        local = [file_sha256(path) for path in item.files.values() if Path(path).is_file()]
        scenes.append(
            replace(
                read_labelled(scene, labels, card.n_classes, job.training, hold=hold),
                site=item.site or site_of(item.id, job.source.dates),
                files_sha256=(identify(request, item).sha256, *local),
                labels_sha256=dataset_sha256(str(labels)),
            )
        )
    return scenes


def segmenting_job(job: TrainingJob) -> Job:
    """Return the job that segments what this one fits on."""
    return Job(job=job.job, kind=job.kind, source=job.source, model=ModelChoice(name=str(job.card["name"])))


def _folder(job: TrainingJob) -> Path:
    if "{data}" not in job.training.folder:
        return Path(job.training.folder)
    data = data_folder()
    if data is None:
        raise JobError(f"{job.job}: training.folder is in the sample data, which is not here; set SWATHE_SAMPLES")
    return Path(job.training.folder.replace("{data}", str(data)))


@step("cross-validate")
def cross_validation(job: TrainingJob, card: Card, subjects: Subjects) -> Figures:
    """Score every scene by a network that has not seen it, and the simple method on the same scenes."""
    # Here, because it brings torch, which the command line need not wait for.
    from models.weights.files import write_model

    try:
        folds = subjects.split.folds(job.folds, fit_settings(job).seed)
    except ValueError as error:
        raise JobError(f"{job.job}: 'folds': {error}") from error
    scored = Scored()
    curves = {}
    for number, held_out in enumerate(folds):
        name = f"fold-{number}"
        fitted = fit_scenes(job, card, subjects, names=set(subjects.split.names) - set(held_out), fit=name)
        curves[name] = fitted.curves
        with tempfile.TemporaryDirectory(prefix="swathe-fold-") as folder:
            written = write_model(Path(folder), fitted.card, fitted.state_dict)
            unseen = subjects.named(held_out)
            told = f"the {len(unseen)} scenes that fold {number} holds back"
            scored.score(segmenting_job(job), card=written, folder=Path(folder), scenes=unseen, told=told)
    figures = scored.figures(card, job.baseline, subjects.scenes)
    _show(job, card, curves=curves, figures=figures, scored=scored)
    return figures


@step("fit")
def fit_and_write(
    job: TrainingJob, card: Card, subjects: Subjects, figures: Figures | None, out: Path
) -> tuple[Card, Figures | None]:
    """Fit on all scenes that are not held back, look at what comes out of it, and write the model.

    Returns:
        Its card, and its figures: those of scenes that are held back where there are any.
    """
    from models.weights.files import write_model

    fitted = fit_scenes(job, card, subjects, names=subjects.split.names, fit="all")
    scenes, held = subjects.named(subjects.split.names), subjects.named(subjects.split.held)
    plain = segmenting_job(job)
    scored = Scored()
    # Nothing is put into OUT before the network has been seen to work.
    with tempfile.TemporaryDirectory(prefix="swathe-fitted-") as folder:
        tried = write_model(Path(folder), fitted.card, fitted.state_dict)
        logger.info(
            "segmenting %d scenes five times each: whether every class is found, and which share of labels tiles "
            "change, and bfloat16",
            len(scenes),
        )
        with quiet_models():
            refuse_collapse(plain, tried, scenes, Path(folder))
            if held:
                told = f"the {len(held)} scenes that training.held holds back"
                scored.score(plain, card=tried, folder=Path(folder), scenes=held, told=told)
                figures = scored.figures(card, job.baseline, held)
            seams = tiled_disagreement(plain, tried, scenes, Path(folder))
            halved = bfloat16_disagreement(plain, tried, scenes, Path(folder))
    # A card travels: whose disk the scenes were on is nobody's business.
    data = _folder(job).absolute().name
    training = card.training or Training(data=data, licence="", attribution="", protocol="")
    if figures:
        measured = {"scores": figures.network.mean, "by_class": figures.network.by_class}
        baseline = {"baseline": figures.baseline.mean} if figures.baseline else {}
        training = training.model_copy(update=measured | baseline)
    complete = {
        "training": training,
        "tiling": fitted.card.tiling.model_copy(update={"disagreement": seams}),
        "bfloat16_disagreement": halved,
    }
    _show(job, card, curves={"all": fitted.curves}, figures=figures if held else None, scored=scored)
    return write_model(out, fitted.card.model_copy(update=complete), fitted.state_dict), figures


def _show(job: TrainingJob, card: Card, curves: dict[str, Curves], figures: Figures | None, scored: Scored) -> None:
    told = {}
    if figures is not None:
        means = {"mean": figures.network.mean, **figures.network.by_class}
        told = {
            f"Dice on scenes not seen, {name}": f"{found['dice_mean']:.3f} of {found['dice_n']:.0f} scenes"
            for name, found in means.items()
            if found["dice_n"]
        }
    orchestrator().show_fits(
        FitReport(job=job.job, model=card.name, curves=curves, scores=told, examples=scored.examples)
    )


def fit_settings(job: TrainingJob) -> TrainSettings:
    """Return what ``models.training`` is told, checked.

    Raises:
        JobError: When a setting does not exist, is missing, or has a value that it cannot have.
    """
    from models.training.settings import TrainSettings

    try:
        return TrainSettings(**job.settings)
    except ValidationError as error:
        reasons = "; ".join(
            f"'settings.{'.'.join(map(str, found['loc']))}': {found['msg'][:1].lower()}{found['msg'][1:]}"
            + ("" if found["type"] == "missing_argument" else f", got {found['input']!r}")
            for found in error.errors()
        )
        raise JobError(f"{job.job}: {reasons}. docs/jobs.md lists what there is") from error


def fit_scenes(job: TrainingJob, card: Card, subjects: Subjects, names: Collection[str], fit: str) -> FitResult:
    """Fit on scenes, from the last checkpoint on where there is one.

    Args:
        job: What to fit.
        card: What is known of the model.
        subjects: All scenes.
        names: Of those that this fit may see; some may be watched instead.
        fit: What it is called.
    """
    from models.training.slices import fit_card

    settings = fit_settings(job)
    try:
        watched = subjects.split.watched(names, settings.watched, settings.seed) if settings.patience else ()
    except ValueError as error:
        raise JobError(f"{job.job}: {error}") from error
    with shown(f"{card.name}, {fit}") as progress:
        return fit_card(
            as_samples(subjects.named(set(names) - set(watched))),
            card,
            settings,
            watched=as_samples(subjects.named(watched)),
            folder=subjects.fits / fit,
            progress=progress,
        )


def as_samples(scenes: list[LabelledScene]) -> list[AnySample]:
    """Return scenes as ``models.training`` takes them."""
    from models.training.settings import Sample, StreamedSample

    return [
        StreamedSample(
            name=scene.name,
            shape=scene.shape,
            read=partial(_read_window, scene),
            pixels=scene.pixels(),
            places=scene.places,
            is_labelled_whole=scene.is_labelled_whole,
        )
        if scene.held is None
        else Sample(image=scene.held.image, labels=scene.held.labels, valid=scene.held.valid, name=scene.name)
        for scene in scenes
    ]


def _read_window(
    scene: LabelledScene, start: tuple[int, ...], stop: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.bool_]]:
    window = scene.window(Box(start, stop))
    return window.image, window.labels, window.valid
