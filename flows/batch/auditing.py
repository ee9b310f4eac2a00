"""What a run writes into the audit log of its folder: with what it worked, on what, and what came of it."""

from __future__ import annotations

import logging
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from tasks.errors import KeyFileError, StoreError
from tasks.files.keys import institution_key
from tasks.intake.request import Request, digest
from tasks.out.audit import AuditLog, Head, has_audit
from tasks.out.outcome import SceneOutcome
from tasks.segment.prepare import Prepared

logger = logging.getLogger(__name__)


def run_began(request: Request, run_id: str, time: str) -> None:
    """Say what the run works with, after a look at what earlier runs said.

    Raises:
        AuditError: When the log is not as it was written.
        KeyFileError: When a log was begun, and the institution's key cannot be used.
    """
    log = _log(request)
    if log is None:
        return
    log.require_whole()
    weights = request.card.weights
    facts = {
        "run": run_id,
        "job": request.job.job,
        "job_sha256": digest(request.job.model_dump(mode="json")),
        "model": request.card.name,
        "card_sha256": digest(request.card.model_dump(mode="json")),
        "weights_sha256": None if weights is None else weights.sha256,
        "swathe": version("swathe"),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    log.append("run began", time, facts)


def scene_made(
    request: Request, prepared: Prepared, run_id: str, time: str, headline: Mapping[str, Any]
) -> Head | None:
    """Say what a product was made from, before it is put in place; its run record names the line."""
    log = _log(request)
    if log is None:
        return None
    facts = {
        "run": run_id,
        "scene": prepared.scene.id,
        "input_sha256": prepared.fingerprint.sha256,
        "verdict": "go",
        "request": prepared.request_key,
        "product": prepared.product_key,
        "plan": prepared.work.plan.identity(),
        "warnings": list(prepared.warnings),
        "headline": dict(headline),
    }
    return log.append("product made", time, facts)


def scene_failed(request: Request, scene_id: str, error: str, run_id: str, time: str) -> None:
    """Say that a scene has no product, and why."""
    log = _log(request)
    if log is not None:
        log.append("scene failed", time, {"run": run_id, "scene": scene_id, "error": error})


def run_ended(request: Request, run_id: str, time: str, outcomes: Sequence[SceneOutcome]) -> None:
    """Say how the run ended; of one that was interrupted the ledger says so."""
    log = _log(request)
    if log is not None:
        log.append("run ended", time, {"run": run_id, "scenes": Counter(outcome.status for outcome in outcomes)})


def _log(request: Request) -> AuditLog | None:
    """Return the log of a folder: kept of volumes, and wherever one was begun."""
    begun = has_audit(request.out)
    if not begun and request.job.kind != "volume":
        return None
    try:
        return AuditLog(request.out, institution_key(request.out.root))
    except (KeyFileError, StoreError) as error:
        if begun or request.institution is not None:
            raise
        # Nothing of what was asked for needs a key.
        logger.warning("no audit log is kept: %s", error)
        return None
