"""Each network fitted briefly on the sample data, scored on scenes it has not seen; writes its own table."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flows.training.disagreement import tiled_disagreement
from models.card import Card, Network
from tasks.jobs.training import TrainingJob, load_training_job
from tasks.training.labelled import LabelledScene

_PAGE = Path(__file__).parents[1] / "docs" / "models.md"
_BEGIN, _END = "<!-- networks: written by python -m benchmarks networks -->", "<!-- networks: end -->"
# VGG-16 with a quarter of the channels, and dense layers of 256.
_SMALL_VGG = {"widths": [16, 32, 64, 128, 128], "dense_width": 256, "batch_norm": True}
_SMALL_BOXES = {"backbone": "resnet18", "boxes_per_crop": 64}
# At the rate of the others they find next to nothing: heads without norms, over a pyramid that begins at random.
_BOXES_FIT = {"steps": 200, "learning_rate": 5e-4}


@dataclass(frozen=True)
class _Variant:
    """One row of the table.

    Attributes:
        network: Name in the catalogue.
        what: How it differs from the published network; empty where it does not.
        arguments: Of the network.
        settings: Of the fit, over those of the subject.
        has_things: Whether the classes but for the first are things.
    """

    network: str
    what: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    has_things: bool = False


@dataclass(frozen=True)
class _Subject:
    """Data, and what is fitted on it.

    Attributes:
        title: Of its part of the table.
        job: A training job in ``configs``.
        folds: One of so many is held out.
        settings: Over those of the job: the same budget for all variants that name no other.
        variants: Rows.
    """

    title: str
    job: str
    folds: int
    settings: Mapping[str, Any]
    variants: tuple[_Variant, ...]


_FIRES = _Subject(
    title="fires",
    job="train-fire",
    folds=3,
    settings={"steps": 100, "batch": 4, "crop": [96, 96]},
    variants=(
        _Variant("unet", "16 to 128 channels, padded, batch norm"),
        _Variant("unet", "16 to 128 channels, valid convolutions", {"padding": "valid"}),
        _Variant("fcn32s", "small VGG", _SMALL_VGG),
        _Variant("fcn16s", "small VGG", _SMALL_VGG),
        _Variant("fcn8s", "small VGG", _SMALL_VGG),
        _Variant("fcn-resnet50"),
        _Variant("segnet", "16 to 128 channels", {"widths": [16, 32, 64, 128, 128]}),
        _Variant("dilated", "small VGG", _SMALL_VGG),
        _Variant("refinenet", "ResNet-18, 64 channels", {"encoder": "resnet18", "width": 64}),
        _Variant("pspnet", "ResNet-18", {"encoder": "resnet18", "decoder": 128}),
        _Variant("deeplabv3", "ResNet-18", {"encoder": "resnet18", "decoder": 128}),
        _Variant("deeplabv3plus", "ResNet-18, three stages"),
        _Variant("smp:Segformer", "MiT-B0", {"encoder_name": "mit_b0"}),
        _Variant("smp:UnetPlusPlus", "ResNet-18", {"encoder_name": "resnet18"}),
        _Variant("maskrcnn", "ResNet-18, 64 boxes a crop, 200 steps at 5e-4", _SMALL_BOXES, _BOXES_FIT),
        _Variant(
            "panoptic-fpn", "ResNet-18, 64 boxes a crop, 200 steps at 5e-4", _SMALL_BOXES, _BOXES_FIT, has_things=True
        ),
    ),
)
_SARCOMAS = _Subject(
    title="sarcomas",
    job="train-sarcoma",
    folds=4,
    settings={"steps": 100, "batch": 4, "crop": [48, 32, 32]},
    variants=(
        _Variant("unet", "8 to 64 channels, 3-D", {"ndim": 3, "widths": [8, 16, 32, 64]}),
        _Variant("monai:SegResNet", "8 filters", {"init_filters": 8}),
        _Variant("monai:BasicUNet", "8 to 64 channels", {"features": [8, 8, 16, 32, 64, 8]}),
    ),
)


@dataclass(frozen=True, kw_only=True)
class _Row:
    subject: str
    name: str
    what: str
    scores: tuple[float, ...]
    parameters: int | None = None
    seconds: float | None = None
    seams: float | None = None


def run(folder: Path, only: Sequence[str] = (), steps: int | None = None, page: Path = _PAGE) -> None:
    """Fit, print a line per network, and write the table into ``page``.

    Args:
        folder: Scratch.
        only: Names of networks; all when empty.
        steps: Optimiser steps instead of the usual number: to try the benchmark, not for a page.
        page: Where the table stands between two marks.
    """
    rows = []
    for subject in (_FIRES, _SARCOMAS):
        variants = [variant for variant in subject.variants if not only or variant.network in only]
        for row in _compare(folder, subject, variants, steps) if variants else ():
            rows.append(row)
            print(_line(row), flush=True)
    behind = [row.name for row in rows if row.parameters and float(np.mean(row.scores)) <= 0]
    # A part of the rows, or rows of a shorter fit, are not for the page.
    if page != _PAGE or (steps is None and not only):
        _write(page, rows)
    if behind:
        raise SystemExit(f"no better than the majority class: {', '.join(behind)}")


def _compare(folder: Path, subject: _Subject, variants: Sequence[_Variant], steps: int | None) -> Iterator[_Row]:
    from flows.training import fit as training
    from tasks.training.baseline import baseline_overlaps
    from tasks.training.splits import Split

    job = load_training_job(subject.job)
    settings = {**job.settings, **subject.settings, "threads": len(os.sched_getaffinity(0))}
    job = job.model_copy(update={"settings": settings})
    shortened = {} if steps is None else {"steps": steps}
    template = Card.model_validate(job.card)
    scenes = training.read_scenes(job, template, folder)
    held_out = set(Split.of(job.job, scenes, job.training).folds(subject.folds, 0)[0])
    seen = [scene for scene in scenes if scene.name not in held_out]
    unseen = [scene for scene in scenes if scene.name in held_out]
    zero = tuple(0.0 for _ in unseen)
    yield _Row(subject=subject.title, name="majority class", what="background everywhere", scores=zero)
    if job.baseline is not None:
        simple = ", ".join(str(value) for value in job.baseline.model_dump(exclude_defaults=True).values())
        scores = tuple(float(baseline_overlaps(job.baseline, scene, 2).dice[0]) for scene in unseen)
        yield _Row(subject=subject.title, name="simple method", what=simple, scores=scores)
    for number, variant in enumerate(variants):
        network = Network(name=variant.network, arguments=dict(variant.arguments))
        first, *others = template.classes
        classes = (first, *(one.model_copy(update={"thing": variant.has_things}) for one in others))
        card = template.model_copy(update={"network": network, "classes": classes})
        own = job.model_copy(update={"settings": {**settings, **variant.settings, **shortened}})
        yield _fit_and_score(
            folder / f"{subject.title}-{number}", own, card=card, scenes=(seen, unseen), row=(subject.title, variant)
        )


def _fit_and_score(
    folder: Path,
    job: TrainingJob,
    card: Card,
    scenes: tuple[list[LabelledScene], list[LabelledScene]],
    row: tuple[str, _Variant],
) -> _Row:
    from flows.training import fit as training
    from models.networks.builders import network_geometry
    from models.training.slices import fit_card
    from models.weights.files import write_model
    from tasks.answers.metrics.overlap import dice
    from tasks.geometry.box import Box
    from tasks.intake.request import Request
    from tasks.out.folder import OutFolder
    from tasks.training.whole import segment_whole

    seen, unseen = scenes
    geometry = network_geometry(card.network)
    # As much is answered for whatever is lost at the sides, and every stride divides it.
    crop = [
        -(-(length + 2 * margin) // step) * step
        for length, margin, step in zip(job.settings["crop"], geometry.margin, geometry.stride, strict=True)
    ]
    title, variant = row
    settings = training.fit_settings(job.model_copy(update={"settings": {**job.settings, "crop": crop}}))
    begin = time.perf_counter()
    fitted = fit_card(training.as_samples(seen), card, settings)
    seconds = time.perf_counter() - begin
    written = write_model(folder, fitted.card, fitted.state_dict)
    plain = training.segmenting_job(job)
    request = Request(job=plain, card=written, card_folder=folder, out=OutFolder(folder))
    scores = tuple(
        dice(segment_whole(request, scene.scene), scene.labels.read(Box.of_shape(scene.scene.frame.native_shape)), 1)
        for scene in unseen
    )
    seams = tiled_disagreement(plain, written, unseen, folder)
    name, what = f"`{variant.network}`", variant.what or "as published"
    return _Row(
        subject=title,
        name=name,
        what=what,
        scores=scores,
        parameters=written.parameters,
        seconds=seconds,
        seams=seams,
    )


def _line(row: _Row) -> str:
    parameters = "" if row.parameters is None else f"{row.parameters:,}"
    seconds = "" if row.seconds is None else f"{row.seconds:.0f}"
    seams = "" if row.seams is None else f"{100 * row.seams:.3f}"
    mean, lowest = float(np.mean(row.scores)), min(row.scores)
    return (
        f"| {row.subject} | {row.name} | {row.what} | {parameters} | {seconds} | {mean:.3f} | {lowest:.3f} | {seams} |"
    )


def _write(page: Path, rows: Sequence[_Row]) -> None:
    names = ("data", "network", "variant", "parameters", "seconds", "Dice, mean", "lowest", "% changed by tiles")
    head = f"| {' | '.join(names)} |\n{'|---' * len(names)}|"
    table = "\n".join([_BEGIN, head, *(_line(row) for row in rows), _END])
    text, found = re.subn(
        rf"{re.escape(_BEGIN)}.*{re.escape(_END)}", lambda _: table, page.read_text(), flags=re.DOTALL
    )
    if not found:
        raise SystemExit(f"{page}: the marks between which the table stands are not there")
    page.write_text(text)
