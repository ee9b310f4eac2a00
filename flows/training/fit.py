"""``swathe train``: cross-validate, fit on all scenes, write weights and card together."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flows.orchestration.current import step
from flows.training.disagreement import bfloat16_disagreement, quiet_models, tiled_disagreement
from models.card import Card, Training, write_card
from tasks.answers.metrics.overlap import dice
from tasks.errors import JobError, UndeclaredError
from tasks.files.declared import lies_below
from tasks.inputs.listing import list_inputs
from tasks.intake.describe import describe
from tasks.intake.request import Request
from tasks.jobs.job import Job, ModelChoice
from tasks.jobs.training import TrainingJob, load_training_job
from tasks.out.folder import OutFolder
from tasks.samples.scenes import data_folder
from tasks.training.baseline import Baseline
from tasks.training.labelled import LabelledScene, read_labelled
from tasks.training.whole import segment_whole

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a training run left.

    Attributes:
        name: Of the model.
        folder: Holds its weights and card.
        weights: File of the weights, in that folder.
        scores: Validation figures and, with the prefix ``baseline_``, those of the simple method; empty without folds.
        tiled_disagreement: Share of labels that tiles change.
        bfloat16_disagreement: Share of labels that bfloat16 changes; None where it was not measured.
    """

    name: str
    folder: Path
    weights: str
    scores: dict[str, float]
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
    """
    job = load_training_job(job_name, tuple(overrides))
    card = _template(job)
    # Decompressed volumes stay until every fold is scored.
    with tempfile.TemporaryDirectory(prefix="swathe-training-") as scratch:
        scenes = read_scenes(job, card, Path(scratch))
        scores, baseline = cross_validation(job, card, scenes) if job.folds else ({}, {})
        written = fit_and_write(job, card, scenes=scenes, figures=Figures(scores, baseline), out=out)
    return TrainingResult(
        name=card.name,
        folder=out,
        weights=written.weights.file if written.weights else "",
        scores=scores | {f"baseline_{name}": value for name, value in baseline.items()},
        tiled_disagreement=written.tiling.disagreement,
        bfloat16_disagreement=written.bfloat16_disagreement,
    )


def _template(job: TrainingJob) -> Card:
    try:
        return Card.model_validate(job.card)
    except ValidationError as error:
        raise JobError(f"{job.job}: 'card' is not one: {error}") from error


@step("read scenes")
def read_scenes(job: TrainingJob, card: Card, scratch: Path) -> list[LabelledScene]:
    """Read every labelled scene that the job does not leave out."""
    folder = _folder(job)
    plain = segmenting_job(job)
    request = Request(job=plain, card=card, card_folder=None, out=OutFolder(scratch))
    items = [item for item in list_inputs([str(folder)], plain) if item.id not in job.training.exclude]
    scenes = []
    for item in items:
        if item.error is not None:
            raise JobError(f"{job.job}: {item.error}")
        labels = folder / job.training.labels.replace("{scene}", item.id)
        if not lies_below(labels, [folder]):
            raise UndeclaredError(f"{labels}: a link out of {folder}. Put the labels themselves there")
        scenes.append(read_labelled(describe(request, item), labels, card.n_classes))
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
def cross_validation(
    job: TrainingJob, card: Card, scenes: list[LabelledScene]
) -> tuple[dict[str, float], dict[str, float]]:
    """Score every scene by a network that has not seen it, and the simple method on the same scenes.

    Masks come from the engine, with the weights as they are written, on the native grid: what a user would get.
    """
    # Here, because it brings torch, which the command line need not wait for.
    from models.training.folds import k_folds, summary
    from models.training.slices import fit_card
    from models.weights.files import write_model

    scores: dict[str, float] = {}
    for number, held_out in enumerate(k_folds([scene.name for scene in scenes], job.folds, fit_settings(job).seed)):
        fitted = fit_card(as_samples(scenes, without=held_out), card, fit_settings(job), _tell)
        with tempfile.TemporaryDirectory(prefix="swathe-fold-") as folder:
            written = write_model(Path(folder), fitted.card, fitted.state_dict)
            request = Request(
                job=segmenting_job(job), card=written, card_folder=Path(folder), out=OutFolder(Path(folder))
            )
            for scene in (scene for scene in scenes if scene.name in held_out):
                scores[scene.name] = dice(segment_whole(request, scene.scene), scene.native_labels, 1)
                logger.info("fold %d, %s: Dice %.3f", number, scene.name, scores[scene.name])
    simple = {}
    if job.baseline:
        method = Baseline(**job.baseline)
        simple = summary({scene.name: method.dice(scene) for scene in scenes}, "dice")
    return summary(scores, "dice"), simple


@dataclass(frozen=True)
class Figures:
    """What cross-validation measured, by name."""

    scores: dict[str, float]
    baseline: dict[str, float]


@step("fit")
def fit_and_write(job: TrainingJob, card: Card, scenes: list[LabelledScene], figures: Figures, out: Path) -> Card:
    """Fit on all scenes and write the model; return its card."""
    from models.training.slices import fit_card
    from models.weights.files import write_model

    fitted = fit_card(as_samples(scenes), card, fit_settings(job), _tell)
    # A card travels: whose disk the scenes were on is nobody's business.
    data = _folder(job).absolute().name
    training = card.training or Training(data=data, licence="", attribution="", protocol="")
    measured = training.model_copy(update={"scores": figures.scores, "baseline": figures.baseline})
    written = write_model(out, fitted.card.model_copy(update={"training": measured}), fitted.state_dict)
    logger.info(
        "measuring on %d scenes which share of labels tiles change, and which bfloat16: each is segmented four times",
        len(scenes),
    )
    plain = segmenting_job(job)
    with quiet_models():
        seams = tiled_disagreement(plain, written, scenes, out)
        halved = bfloat16_disagreement(plain, written, scenes, out)
    tiling = written.tiling.model_copy(update={"disagreement": seams})
    measured_card = written.model_copy(update={"tiling": tiling, "bfloat16_disagreement": halved})
    write_card(measured_card, out / f"{card.name}.json")
    return measured_card


def fit_settings(job: TrainingJob) -> Any:  # noqa: ANN401 - its class comes with torch
    """Return what ``models.training`` is told, checked.

    Raises:
        JobError: When a setting does not exist.
    """
    from models.training.settings import Augmentation, TrainSettings

    fields = dict(job.settings)
    try:
        augmentation = Augmentation(**fields.pop("augmentation", {}))
        return TrainSettings(**{**fields, "crop": tuple(fields["crop"]), "augmentation": augmentation})
    except (TypeError, KeyError) as error:
        raise JobError(f"{job.job}: 'settings' do not fit: {error}") from error


def as_samples(scenes: list[LabelledScene], without: tuple[str, ...] = ()) -> list[Any]:
    """Return scenes as ``models.training`` takes them."""
    from models.training.settings import Sample

    kept = (scene for scene in scenes if scene.name not in without)
    return [Sample(image=scene.image, labels=scene.labels, valid=scene.valid, name=scene.name) for scene in kept]


def _tell(step: int, steps: int, loss: float, score: float | None) -> None:
    if score is not None or step % max(1, steps // 10) == 0:
        logger.info("step %d of %d: loss %.4f%s", step, steps, loss, "" if score is None else f", Dice {score:.3f}")
