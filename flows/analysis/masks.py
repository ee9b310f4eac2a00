"""A batch of masks made elsewhere: each is analysed, and published like a segmented scene."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from models.printable import printable
from tasks.analysis.subject import Findings
from tasks.analysis.summary import write_findings
from tasks.errors import JobError
from tasks.files.declared import require_utf8
from tasks.files.fingerprint import dataset_sha256
from tasks.inputs.input import pseudonymised
from tasks.intake.request import digest
from tasks.out.folder import OutFolder
from tasks.out.outcome import SceneOutcome, write_batch
from tasks.products.publish import is_published, publish, read_published
from tasks.reports.index import write_index
from tasks.reports.legend import Caption

logger = logging.getLogger(__name__)

# What is written last into every product.
WRITTEN = ("summary.json", "report.html")


@dataclass(frozen=True)
class MaskTask:
    """One mask and what is asked of it.

    Attributes:
        scene: Id of the product.
        inputs: Every file that is read, by role, ``mask`` among them: their content decides whether to work again.
        settings: What else decides: the analysis section as JSON has it.
        analyse: Writes files into a folder and returns what it found, facts and caption.
        named: Roles of files that errors name: of tables that several masks share the scene's id would blame the mask.
    """

    scene: str
    inputs: Mapping[str, str]
    settings: Mapping[str, Any]
    analyse: Callable[[Path], tuple[Findings, Mapping[str, Any], Caption]]
    named: frozenset[str] = frozenset()


def analyse_masks(out: Path, title: str, tasks: Sequence[MaskTask]) -> list[SceneOutcome]:
    """Analyse masks one after the other; one that fails leaves the others, and leaves nothing behind.

    Args:
        out: Where products go.
        title: Of the batch.
        tasks: One per mask.

    Raises:
        JobError: When no mask at all can be asked so; nothing is written then.
        StoreError: When another run holds the folder, or it cannot be written to.
    """
    folder = OutFolder(out.resolve())
    made = [path for path in (folder.root, *folder.root.parents) if not path.exists()]
    with folder.locked():
        outcomes, mistakes = [], []
        for task in tasks:
            try:
                outcomes.append(_outcome(folder, task))
            except JobError as error:
                # Perhaps the command's mistake rather than the mask's: the others tell.
                mistakes.append(error)
                outcomes.append(_failed(task, error))
            except Exception as error:  # noqa: BLE001 - the log has its trace
                # Whatever it is, it costs this mask only.
                outcomes.append(_failed(task, error))
        if mistakes and len(mistakes) == len(tasks):
            _take_back(made)
            raise mistakes[0]
        write_batch(folder.root, title, outcomes)
        write_index(folder.root, title, outcomes)
    return outcomes


def _outcome(out: OutFolder, task: MaskTask) -> SceneOutcome:
    for path in task.inputs.values():
        require_utf8(path)
    hashes = {role: dataset_sha256(path) for role, path in sorted(task.inputs.items())}
    key = digest({"inputs": hashes, "settings": task.settings, "swathe": version("swathe")})
    if is_published(out, task.scene, key):
        return _published(out, task, "skipped")
    _publish(out, task, key, hashes)
    return _published(out, task, "done")


def _published(out: OutFolder, task: MaskTask, status: Literal["done", "skipped"]) -> SceneOutcome:
    summary = read_published(out.link(task.scene) / "summary.json", "headline", "warnings")
    return SceneOutcome(
        scene=task.scene,
        status=status,
        error=None,
        product=task.scene,
        headline=summary["headline"],
        warnings=tuple(summary["warnings"]),
    )


def _failed(task: MaskTask, error: Exception) -> SceneOutcome:
    logger.debug("%s: failed", task.scene, exc_info=error)
    own = [path for role, path in task.inputs.items() if role not in task.named]
    text = pseudonymised(f"{type(error).__name__}: {error}", task.scene, own)
    return SceneOutcome(scene=task.scene, status="failed", error=printable(text))


def _take_back(made: Sequence[Path]) -> None:
    """Remove the folder that this run made, and those above it that nobody else uses."""
    for root in made[:1]:
        shutil.rmtree(root)
    for parent in made[1:]:
        with suppress(OSError):
            parent.rmdir()


def _publish(out: OutFolder, task: MaskTask, key: str, hashes: Mapping[str, str]) -> None:
    scratch = Path(tempfile.mkdtemp(prefix="analyse-", dir=out.scratch))
    try:
        findings, facts, caption = task.analyse(scratch)
        known = {"scene": task.scene, "inputs_sha256": dict(hashes), "settings": dict(task.settings)}
        warnings = {"warnings": [*facts.get("warnings", ()), *findings.warnings]}
        for warning in warnings["warnings"]:
            logger.warning("%s: %s", task.scene, warning)
        write_findings(scratch, findings, {**known, **facts, **warnings}, caption)
        publish(out, task.scene, key, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
