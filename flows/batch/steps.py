"""The steps of a batch: plain functions of ``tasks`` with their names and retries.

With a Prefect server each is a Prefect task, without one this process calls it; what Dask maps over blocks is neither.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.batch.auditing import scene_made
from flows.batch.line import Fresh
from flows.batch.waiting import wait_for_folder as wait_until_free
from flows.display.progress import BatchProgress
from flows.orchestration.current import orchestrator, step
from flows.orchestration.orchestrator import NETWORK_DELAYS_S
from models.errors import SwatheError
from tasks.analysis.following import following_of
from tasks.errors import SceneError, UnreachableSceneError
from tasks.files.fingerprint import Fingerprint
from tasks.files.transient import is_transient
from tasks.inputs.input import Input
from tasks.intake.describe import describe, identify, opened_files
from tasks.intake.expectation import remember
from tasks.intake.request import Request
from tasks.jobs.analysis_section import AnalysisSection
from tasks.out.ledger import Ledger, ProductRow
from tasks.out.outcome import SceneOutcome
from tasks.out.sightings import Sighting, SightingLedger
from tasks.products.publish import is_published, warnings_of
from tasks.products.publish import publish as publish_product
from tasks.products.record import RunRecord, write_run_record
from tasks.segment.graph import Engine, Named
from tasks.segment.plan import Slot
from tasks.segment.prepare import Prepared, prepare, require_variation
from tasks.segment.store import BlockReport, BlockStore
from tasks.verdict.check import check_inputs
from tasks.verdict.verdict import Verdict

# What workers do: this process does not load what they need for it.
_MEASURE: Named[Slot] = Named("tasks.segment.measure", "measure_slot")
_SETTLE: Named[None] = Named("tasks.segment.settle", "settle")
_ASSEMBLE: Named[None] = Named("tasks.instances.lay", "assemble")
_FINISH: Named[None] = Named("tasks.products.finish", "finish")
_ANALYSE: Named[dict[str, Any]] = Named("tasks.analysis.analyse", "analyse")


def now() -> str:
    """Return the time as run records hold it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def _pseudonymised(item: Input) -> Iterator[None]:
    """Keep file names out of what Prefect stores of an error: they may tell who the patient is.

    Raises:
        UnreachableSceneError: When a network or a mount is to blame, whatever was made of that on the way.
    """
    try:
        yield
    except Exception as error:
        text = item.pseudonymised(str(error))
        if is_transient(error):
            raise UnreachableSceneError(
                f"{item.id}: cannot be reached at the moment ({text}). Try again later"
            ) from None
        if text == str(error):
            raise
        raise (type(error) if isinstance(error, SwatheError) else SceneError)(text) from None


@step("check", "check · {job_name}")
def check(job_name: str, request: Request, items: Sequence[Input]) -> list[Verdict]:
    """Give every input a verdict before any work."""
    return check_inputs(items, request.job, request.card.channels, request.card)


@step("measure")
def measure(engine: Engine, request: Request, n_threads: int) -> Slot:
    """Load the model on a worker and see what it can do."""
    return engine.call_on_slot(_MEASURE, request.card, request.card_folder, request.job, n_threads)


@step("identify", "identify · {item.id}", retry_delays_s=NETWORK_DELAYS_S)
def identify_input(request: Request, item: Input) -> Fingerprint:
    """Hash an input."""
    with _pseudonymised(item):
        return identify(request, item)


@step("plan", "plan · {scene.item.id}", retry_delays_s=NETWORK_DELAYS_S)
def plan(request: Request, scene: Fresh, slot: Slot, n_slots: int) -> Prepared:
    """Describe the scene and fit the plan to it."""
    item = scene.item
    with _pseudonymised(item):
        described = describe(request, item)
        if not scene.is_seen:
            require_variation(described)
        prepared = prepare(request, described, fingerprint=scene.fingerprint, slot=slot, n_slots=n_slots)
        return replace(
            prepared,
            files=opened_files(request, item),
            stated=item.stated,
            date=item.date,
            warnings=scene.warnings,
            series=item.series,
        )


@step("segment", "segment · {prepared.scene.id}", retry_delays_s=NETWORK_DELAYS_S)
def segment_scene(engine: Engine, prepared: Prepared, progress: BatchProgress) -> list[BlockReport]:
    """Run the blocks that the journal does not hold."""
    with _pseudonymised(_input_of(prepared)):
        return _segment_scene(engine, prepared, progress)


def _input_of(prepared: Prepared) -> Input:
    return Input(id=prepared.scene.id, files=dict(prepared.files), series=prepared.series)


def _segment_scene(engine: Engine, prepared: Prepared, progress: BatchProgress) -> list[BlockReport]:
    work = prepared.work
    blocks = work.plan.blocks(work.scene.frame)
    store = BlockStore(work.store)
    done = store.committed(blocks)
    shown = progress.scene(work.scene.id, len(blocks), len(done))
    reports = list(done.values())
    for report in engine.run_blocks(work, [block for block in blocks if block not in done]):
        reports.append(report)
        shown.advance()
    store.require_complete(blocks)
    if work.is_settled:
        engine.call(_SETTLE, work)
    if work.has_instances:
        engine.call(_ASSEMBLE, work)
    if not done:
        remember(work.card, math.prod(work.scene.frame.native_shape), sum(report.seconds for report in reports))
    return reports


@step("finish", "finish · {prepared.scene.id}")
def finish(engine: Engine, request: Request, prepared: Prepared, folder: Path) -> None:
    """Stream the store into the product's format."""
    with _pseudonymised(_input_of(prepared)):
        engine.call(_FINISH, request, prepared, folder)


@step("analyse", "analyse · {prepared.scene.id}")
def analyse(engine: Engine, request: Request, prepared: Prepared, folder: Path) -> dict[str, Any]:
    """Turn the mask into numbers and a picture."""
    with _pseudonymised(_input_of(prepared)):
        return engine.call(_ANALYSE, request, prepared, folder)


@step("dicom", "dicom · {prepared.scene.id}")
def write_dicom(request: Request, prepared: Prepared, folder: Path) -> None:
    """Write results as DICOM objects, in this process: no worker sees the institution's key."""
    # Here, because only jobs of volumes need what it brings.
    from tasks.products.dicom.results import write_results

    with _pseudonymised(_input_of(prepared)):
        write_results(request, prepared, folder)


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What a run knows of a scene beside its product.

    Attributes:
        run: Its id.
        headline: Numbers for the batch table.
        reports: Of the blocks.
        sighting: Which site it shows and when, where fires are followed.
        stages: Seconds by stage, of those that have ended.
    """

    run: str
    headline: dict[str, Any]
    reports: tuple[BlockReport, ...]
    sighting: Sighting | None = None
    stages: Mapping[str, float] = field(default_factory=dict)


@step("publish", "publish · {prepared.scene.id}", retry_delays_s=NETWORK_DELAYS_S)
def publish(request: Request, prepared: Prepared, folder: Path, facts: RunFacts) -> SceneOutcome:
    """Put the product in place, enter it into the ledger, and clear what it was made from."""
    scene_id, out = prepared.scene.id, request.out
    if folder.exists():
        # Otherwise the product was moved into place before this step was begun again.
        record = RunRecord(
            run=facts.run,
            finished=now(),
            plan=prepared.work.plan,
            reports=facts.reports,
            stages=dict(facts.stages),
            audit=scene_made(request, prepared, run_id=facts.run, time=now(), headline=facts.headline),
        )
        write_run_record(folder / "run.json", record)
    if facts.sighting is not None:
        # Before the product: a run that dies after it leaves no scene that the next one does not know of.
        SightingLedger(out.ledger).enter([facts.sighting])
    product = publish_product(out, scene_id, prepared.product_key, folder)
    row = ProductRow(
        scene=scene_id,
        request=prepared.request_key,
        product=prepared.product_key,
        status="done",
        error=None,
        headline=facts.headline,
    )
    Ledger(out.ledger).record(row, facts.run, now())
    shutil.rmtree(out.scene_scratch(scene_id), ignore_errors=True)
    place, warnings = str(product.relative_to(out.root)), warnings_of(product)
    outcome = SceneOutcome(
        scene=scene_id, status="done", error=None, product=place, headline=facts.headline, warnings=warnings
    )
    orchestrator().show_scene(request.job.job, outcome, out.root)
    return outcome


@step("follow", "follow · {request.job.job}")
def follow(request: Request, analysis: AnalysisSection, published: Sequence[Input]) -> Sequence[str]:
    """Bring up to date what goes on from scene to scene, from all published products."""
    following = following_of(analysis)
    return () if following is None else following.follow(request, analysis, published, now())


@step("wait", "wait · {request.out.root.name}")
def wait_for_folder(
    request: Request, wait_hours: float, offered: Sequence[Input], held: ExitStack
) -> list[SceneOutcome] | None:
    """Wait for the run that holds the folder."""
    return wait_until_free(request, wait_hours, offered, held)


def skipped(request: Request, item: Input, fingerprint: Fingerprint) -> SceneOutcome | None:
    """Return the earlier outcome of a scene whose input, model and job have not changed."""
    known = Ledger(request.out.ledger).product(item.id)
    if known is None or known.product is None or known.status != "done":
        return None
    if known.request != request.key(fingerprint.sha256) or not is_published(request.out, item.id, known.product):
        return None
    # An earlier run may have been killed after its last word.
    shutil.rmtree(request.out.scene_scratch(item.id), ignore_errors=True)
    product = request.out.product(item.id, known.product)
    place = str(product.relative_to(request.out.root))
    return SceneOutcome(
        scene=item.id,
        status="skipped",
        error=None,
        product=place,
        headline=known.headline,
        warnings=warnings_of(product),
    )
