"""One scene, from its plan to its published product; whatever goes wrong costs this scene only."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

from flows.batch import steps
from flows.batch.line import Fresh
from flows.batch.triage import failed, named
from flows.display.logs import about
from flows.display.progress import BatchProgress
from flows.display.unforeseen import keep_traceback
from models.errors import SwatheError
from tasks.intake.describe import require_unchanged
from tasks.intake.request import Request
from tasks.out.outcome import SceneOutcome
from tasks.out.sightings import sighting_of
from tasks.products.begin import begin_product
from tasks.segment.graph import URGENT, Engine
from tasks.segment.plan import Slot
from tasks.segment.prepare import Prepared, plan_summary

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What the scenes of one run share.

    Attributes:
        id: Of the run in the ledger.
        request: Job, model and OUT.
        engine: Runs blocks.
        slot: What a worker can do.
        progress: Shows how far scenes are.
        stopping: Set when the run was cancelled.
    """

    id: str
    request: Request
    engine: Engine
    slot: Slot
    progress: BatchProgress
    stopping: Event


@dataclass
class Stages:
    """Times of the stages of one scene; two of them may run side by side.

    Attributes:
        seconds: By stage, of those that have ended.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    _begun: float = field(default_factory=time.monotonic, init=False)

    @property
    def total_s(self) -> float:
        """Seconds since the scene began."""
        return time.monotonic() - self._begun

    @contextmanager
    def at(self, stage: str) -> Iterator[None]:
        """Time a stage, and name it in log lines."""
        begin = time.monotonic()
        with about("stage", stage):
            yield
        self.seconds[stage] = round(time.monotonic() - begin, 3)


def segment_one(run: Run, scene: Fresh) -> SceneOutcome:
    """Make the product of a scene; one line in the log says what it came to."""
    if scene.urgent:
        run = replace(run, engine=run.engine.at(URGENT))
    stages = Stages()
    with about("scene", scene.item.id):
        try:
            outcome = _make(run, scene, stages)
        except Exception as error:
            if run.stopping.is_set():
                # No fault of the scene: the next run goes on with it.
                raise
            # Whatever it is, it costs this scene only.
            logger.debug("%s: failed", scene.item.id, exc_info=True)
            if not isinstance(error, SwatheError):
                kept = keep_traceback(error, run.request.out.scratch / "errors")
                logger.error("%s: a mistake of swathe itself; report it with its traceback: %s", scene.item.id, kept)
            return failed(run.request, scene.item, error=named(error), run_id=run.id, seconds=stages.total_s)
        logger.info("%s", done_text(outcome, stages.total_s))
    return outcome


def done_text(outcome: SceneOutcome, seconds: float) -> str:
    """Return what a scene came to in one line: seconds and headline numbers."""
    numbers = ", ".join(f"{name} {_short(value)}" for name, value in outcome.headline.items())
    return f"{outcome.scene}: {outcome.status} in {seconds:.1f} s" + (f"; {numbers}" if numbers else "")


def _make(run: Run, scene: Fresh, stages: Stages) -> SceneOutcome:
    item, request = scene.item, run.request
    with stages.at("plan"):
        prepared = steps.plan(request, scene, run.slot, run.engine.n_slots)
        logger.info("%s: %s", item.id, plan_summary(prepared.work.plan))
        for warning in scene.warnings:
            logger.warning("%s: %s", item.id, warning)
    with stages.at("segment"):
        reports = steps.segment_scene(run.engine, prepared, run.progress)
    folder, headline = _make_product(run, prepared, stages)
    require_unchanged(request, item, scene.fingerprint)
    sighting = sighting_of(request.job, item)
    facts = steps.RunFacts(
        run=run.id, headline=headline, reports=tuple(reports), sighting=sighting, stages=stages.seconds
    )
    with stages.at("publish"):
        return steps.publish(request, prepared, folder, facts)


def _make_product(run: Run, prepared: Prepared, stages: Stages) -> tuple[Path, dict[str, Any]]:
    """Finish and analyse side by side: both read the store, and neither what the other writes."""
    folder = begin_product(prepared)

    def finish() -> None:
        with stages.at("finish"):
            steps.finish(run.engine, run.request, prepared, folder)

    with ThreadPoolExecutor(1, thread_name_prefix="finish") as pool:
        finished = pool.submit(copy_context().run, finish)
        with stages.at("analyse"):
            headline = steps.analyse(run.engine, run.request, prepared, folder)
        finished.result()
    if run.request.job.output.dicom is not None and prepared.series is not None:
        with stages.at("dicom"):
            steps.write_dicom(run.request, prepared, folder)
    return folder, headline


def _short(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
