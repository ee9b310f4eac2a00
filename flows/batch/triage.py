"""What of the scenes of a run has to be done: not what is refused, not what has a product of the same request."""

from __future__ import annotations

import logging
import math
import sqlite3
from collections.abc import Sequence

from flows.batch import steps
from flows.batch.auditing import scene_failed
from flows.batch.line import Fresh
from flows.display.logs import about
from models.errors import SwatheError
from models.printable import printable
from tasks.errors import ProductError, SceneError
from tasks.files.fingerprint import Fingerprint
from tasks.inputs.input import Input
from tasks.intake.describe import recall
from tasks.intake.request import Request
from tasks.out.ledger import Ledger, ProductRow
from tasks.out.outcome import SceneOutcome
from tasks.verdict.verdict import Verdict

logger = logging.getLogger(__name__)


def triage(request: Request, items: Sequence[Input], run_id: str) -> tuple[dict[str, SceneOutcome], list[Fresh]]:
    """Check and identify scenes.

    Returns:
        Outcomes of those that there is nothing to do for, by scene; and those that there is.
    """
    settled = {item.id: _settled(request, item) for item in items}
    outcomes = {name: outcome for name, outcome in settled.items() if outcome is not None}
    fresh = []
    unsettled = [item for item in items if item.id not in outcomes]
    for item, verdict in zip(unsettled, steps.check(request.job.job, request, unsettled), strict=True):
        found = _triage_one(request, item, verdict, run_id)
        if isinstance(found, SceneOutcome):
            outcomes[item.id] = found
        else:
            shape = verdict.facts.get("shape")
            pixels = math.prod(shape) if shape else None
            fresh.append(
                Fresh(
                    item=item, fingerprint=found, pixels=pixels, warnings=verdict.warnings, is_seen=not verdict.unseen
                )
            )
    return outcomes, fresh


def failed(request: Request, item: Input, error: str, run_id: str, seconds: float | None = None) -> SceneOutcome:
    """Enter a failure into the ledger, and tell of it in one line; an earlier product stays where it is."""
    # One line, whatever a file's name is: nobody writes lines of his own into a log.
    error = printable(item.pseudonymised(error))
    with about("scene", item.id):
        logger.error("%s: failed%s: %s", item.id, "" if seconds is None else f" after {seconds:.1f} s", error)
    try:
        _enter_failure(Ledger(request.out.ledger), item, error, run_id)
        scene_failed(request, item.id, error=error, run_id=run_id, time=steps.now())
    except (OSError, sqlite3.Error, SwatheError) as unwritten:
        # The scene has failed all the same, and the others are still to be tried; the next run does it again.
        logger.warning("%s: its failure could not be entered into the ledger: %s", item.id, unwritten)
    return SceneOutcome(scene=item.id, status="failed", error=error)


def named(error: Exception) -> str:
    """Return an error's name and text."""
    return f"{type(error).__name__}: {error}"


def _enter_failure(ledger: Ledger, item: Input, error: str, run_id: str) -> None:
    known = ledger.product(item.id)
    product = known.product if known else None
    ledger.record(
        ProductRow(scene=item.id, request="", product=product, status="failed", error=error, headline={}),
        run_id,
        steps.now(),
    )


def _settled(request: Request, item: Input) -> SceneOutcome | None:
    """Return the earlier outcome of a scene of which nothing has changed, without opening a file; None for others."""
    if item.error is not None:
        return None
    try:
        known = recall(request, item)
        return None if known is None else steps.skipped(request, item, known)
    except (SceneError, ProductError):
        # It is told by the verdict, or when the earlier product is looked for again.
        return None


def _triage_one(request: Request, item: Input, verdict: Verdict, run_id: str) -> SceneOutcome | Fingerprint:
    """Return a scene's outcome where there is nothing to do, else what identifies it."""
    if not verdict.go:
        return failed(request, item, f"{verdict.error}: {verdict.message}", run_id)
    try:
        fingerprint = steps.identify_input(request, item)
        return steps.skipped(request, item, fingerprint) or fingerprint
    except Exception as error:
        # Whatever it is, it costs this scene only.
        logger.debug("%s: could not be identified", item.id, exc_info=True)
        return failed(request, item, named(error), run_id)
