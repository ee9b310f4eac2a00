"""``swathe demo``: the jobs on sample scenes, compared with their reference answers."""

from __future__ import annotations

import csv
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from numpy.typing import NDArray

from flows.batch.orders import Batch
from flows.batch.segment import segment_batch
from flows.cluster.engine import ClusterSettings, started_early
from tasks.answers.metrics.overlap import dice
from tasks.out.outcome import SceneOutcome
from tasks.samples.scenes import Sample, fire_sample, large_sample, sarcoma_sample
from tasks.training.labels import read_labels

logger = logging.getLogger(__name__)

_LARGE = 8192
# Whatever any of the samples needs of a worker.
_PRELOAD = ("tasks.segment.block", "tasks.products.finish", "models.predictors.networks")


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """One row of the demo's table; texts are ready to print."""

    sample: str
    model: str
    status: Literal["done", "skipped", "failed"]
    result: str
    reference: str
    agreement: str
    seconds: str
    throughput: str
    folder: Path


@dataclass(frozen=True, kw_only=True)
class _Show:
    """One sample through one model."""

    sample: Sample
    job: str
    model: str
    label: str
    folder: str


def run_demo(out: Path, workers: int | None, has_server: Callable[[], bool]) -> list[DemoResult]:
    """Segment a fire with two networks, a sarcoma, and a large generated raster, on workers that are started once.

    Args:
        out: Folder for samples and products; a folder per job and model.
        workers: Worker processes; None for as many as the cores allow.
        has_server: Asked before each sample whether there is a Prefect server to run it on.
    """
    with (
        TemporaryDirectory(prefix="swathe-demo-") as scratch,
        started_early(ClusterSettings(workers=workers, preload=_PRELOAD, scratch=Path(scratch))),
    ):
        return _run_all(out, workers, has_server)


def _run_all(out: Path, workers: int | None, has_server: Callable[[], bool]) -> list[DemoResult]:
    logger.info("looking for sample scenes, and making one of %d x %d pixels", _LARGE, _LARGE)
    fire, large = fire_sample(out), large_sample(out, _LARGE)
    shows = [
        _Show(sample=fire, job="fire", model="fire-unet", label="burned area", folder="fire-unet"),
        _Show(sample=fire, job="fire", model="fire-deeplabv3plus", label="burned area", folder="fire-deeplabv3plus"),
        _Show(sample=sarcoma_sample(out), job="sarcoma", model="sarcoma-t1-unet", label="sarcoma", folder="sarcoma"),
        _Show(sample=large, job="fire", model="fire-unet", label=f"{_LARGE} x {_LARGE}, SYNTHETIC", folder="large"),
    ]
    return [_run(show, out, workers, _segmenting(has_server)) for show in shows]


def _segmenting(has_server: Callable[[], bool]) -> Callable[[Batch], list[SceneOutcome]]:
    if not has_server():
        return segment_batch
    # Here, because it brings Prefect, which has to know its server first.
    from flows.batch.flow import segment_on_server

    return segment_on_server


def _run(show: _Show, out: Path, workers: int | None, segment: Callable[[Batch], list[SceneOutcome]]) -> DemoResult:
    folder = out / show.folder
    folder.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    label = f"{show.label}: {show.sample.name} ({show.sample.origin})"
    batch = Batch(inputs=[str(_table(show, folder))], job=show.job, out=folder, model=show.model, workers=workers)
    logger.info("%s, by %s", label, show.model)
    (outcome,) = segment(batch)
    seconds = time.perf_counter() - begin
    product = folder / outcome.scene
    if outcome.product is None:
        return DemoResult(
            sample=label,
            model=show.model,
            status=outcome.status,
            result=outcome.error or "",
            reference="",
            agreement="",
            seconds="",
            throughput="",
            folder=folder,
        )
    summary = json.loads((product / "summary.json").read_text())
    predicted, reference = _masks(show.sample, product)
    return DemoResult(
        sample=label,
        model=show.model,
        status=outcome.status,
        result=_headline(summary["headline"]),
        reference=_reference(reference, predicted, summary["headline"]),
        agreement=f"Dice {dice(predicted, reference, 1):.3f}",
        seconds=f"{seconds:.1f}" if outcome.status == "done" else "skipped",
        throughput=f"{summary['pixels'] / seconds / 1e6:.3g}" if outcome.status == "done" else "",
        folder=product,
    )


def _table(show: _Show, folder: Path) -> Path:
    """Name the sample's files in a table, as a user with files of any name would."""
    path = folder / "inputs.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["scene", *show.sample.files])
        writer.writerow([show.sample.name, *(str(name.resolve()) for name in show.sample.files.values())])
    return path


def _masks(sample: Sample, product: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    (mask,) = (path for path in product.iterdir() if path.name in {"mask.tif", "mask.nii.gz"})
    return read_labels(mask), read_labels(sample.reference)


def _reference(reference: NDArray[Any], predicted: NDArray[Any], headline: dict[str, Any]) -> str:
    """Say how much the reference holds, at the mean size of a pixel of the mask: the grids are one."""
    name, value = next(iter(headline.items()))
    marked = int((predicted == 1).sum())
    return f"{name} {value * int((reference == 1).sum()) / marked:,.1f}" if marked else "the mask is empty"


def _headline(numbers: dict[str, Any]) -> str:
    name, value = next(iter(numbers.items()))
    return f"{name} {value:,.1f}" if isinstance(value, float) else f"{name} {value}"
