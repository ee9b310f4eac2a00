"""One patient, erased from everything that an OUT folder holds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tasks.deidentify.folder import journal_path, write_report
from tasks.deidentify.journal import Journal
from tasks.errors import StoreError
from tasks.files.durable import replace_file, sync
from tasks.inputs.naming import FREED, NIGHTS, PATIENTS
from tasks.nights.night import Night
from tasks.nights.night_ledger import NightLedger
from tasks.nights.worklist import write_worklist
from tasks.out.erasing import Eraser
from tasks.out.folder import OutFolder, site_folder
from tasks.out.manifest import is_manifest, read_manifest
from tasks.out.outcome import SceneOutcome
from tasks.out.tickets import Tickets
from tasks.products.publish import read_published


@dataclass(frozen=True, kw_only=True)
class Erasure:
    """What there is of a patient.

    Attributes:
        patient: Pseudonym.
        scenes: Ids.
        products: Their folders.
        inputs: Hashes of what the products were made from.
        freed: Folders of files that were freed of names.
    """

    patient: str
    scenes: tuple[str, ...]
    products: tuple[Path, ...]
    inputs: tuple[str, ...]
    freed: tuple[Path, ...]


def find_patient(out: OutFolder, patient: str) -> Erasure:
    """Return what a folder holds of a patient.

    Raises:
        StoreError: When a run that waits is to do scenes of the patient.
    """
    scenes = tuple(Eraser(out.ledger).scenes_of(patient)) if out.ledger.is_file() else ()
    waiting = {item.id for ticket in Tickets(out.tickets).waiting() for item in ticket.items}
    if waiting & set(scenes):
        raise StoreError(f"{out.root}: a run that waits is to do scenes of {patient}. Cancel it first")
    products = tuple(folder for scene in scenes for folder in sorted((out.root / ".products" / scene).glob("*")))
    return Erasure(
        patient=patient,
        scenes=scenes,
        products=products,
        inputs=tuple(sha256 for product in products for sha256 in _inputs_of(product)),
        freed=tuple(folder for base in _bases(out) if (folder := base.root / patient).is_dir()),
    )


def erase_files(out: OutFolder, found: Erasure) -> None:
    """Delete everything but the rows of the ledger, by which a run that is killed here finds the rest again.

    The folder is held by the caller.

    Raises:
        StoreError: When something cannot be deleted.
    """
    if found.inputs:
        Eraser(out.ledger).erase_inputs(found.inputs)
    for scene in found.scenes:
        out.link(scene).unlink(missing_ok=True)
        for folder in (out.root / ".products" / scene, out.scene_scratch(scene)):
            _delete(folder)
    patients, name = OutFolder(out.root / PATIENTS), site_folder(found.patient)
    patients.link(name).unlink(missing_ok=True)
    _delete(patients.root / ".products" / name)
    for folder in (patients.scratch, out.scratch / "dask"):
        # Work in progress, of which there is none while nothing runs.
        _delete(folder)
    for base in _bases(out):
        _delete(base.root / found.patient)
        journal = Journal(journal_path(base))
        if journal.path.is_file():
            journal.forget(found.patient)
            write_report(base.root / FREED, journal)
    shown = out.freed.root / FREED
    if shown.is_file():
        replace_file(out.root / FREED, shown.read_bytes())
    _erase_lists(out, found.scenes)


def erase_rows(out: OutFolder, found: Erasure) -> None:
    """Delete what the ledger says of a patient, and the worklist's rows; the last step of an erasure.

    Raises:
        StoreError: When the ledger cannot be written to.
    """
    if out.ledger.is_file():
        Eraser(out.ledger).erase(found.scenes)
        write_worklist(out)


def erase_from_nights(out: OutFolder, scenes: Collection[str], now: str) -> list[Night]:
    """Return the nights that told of scenes, as they are told without; their pages are to be written again.

    Args:
        out: The folder.
        scenes: Ids.
        now: ISO 8601, in UTC.
    """
    ledger = NightLedger(out.ledger)
    changed = []
    for path in sorted((out.root / NIGHTS).glob("*.json")):
        night = ledger.night(path.stem)
        if night is None:
            continue
        kept = tuple(scene for scene in night.scenes if scene.id not in scenes)
        waiting = {name: reason for name, reason in night.waiting.items() if name not in scenes}
        if len(kept) < len(night.scenes) or len(waiting) < len(night.waiting):
            changed.append(replace(night, scenes=kept, waiting=waiting))
            ledger.enter(changed[-1], now)
    return changed


def remaining_outcomes(out: OutFolder, scenes: Collection[str]) -> tuple[str, list[SceneOutcome]] | None:
    """Return job and rows of the newest batch without some scenes; None where there was no batch."""
    path = out.root / "batch.json"
    if not path.is_file():
        return None
    told = read_published(path, "job", "scenes")
    rows = [SceneOutcome.from_json(row) for row in told["scenes"]]
    return str(told["job"]), [row for row in rows if row.scene not in scenes]


def _bases(out: OutFolder) -> tuple[OutFolder, OutFolder]:
    """Return where freed files lie: below OUT itself ``swathe deidentify`` writes them."""
    return out, out.freed


def _inputs_of(product: Path) -> Iterator[str]:
    summary = product / "summary.json"
    if summary.is_file():
        yield str(read_published(summary, "input_sha256")["input_sha256"])


def _erase_lists(out: OutFolder, scenes: Collection[str]) -> None:
    """Take scenes out of the lists that runs are told; those of paths are read once, by a run that has ended."""
    for path in (out.scratch / "inputs").glob("*"):
        if not is_manifest(f"@{path}"):
            path.unlink()
            continue
        items = read_manifest(f"@{path}")
        kept = [item for item in items if item.id not in scenes]
        if len(kept) < len(items):
            replace_file(path, json.dumps([asdict(item) for item in kept], indent=1).encode())


def _delete(folder: Path) -> None:
    """Delete a folder with all that is in it, through to the disk.

    Raises:
        StoreError: When it cannot be deleted.
    """
    if not folder.is_dir():
        return
    try:
        shutil.rmtree(folder)
        sync(folder.parent)
    except OSError as error:
        raise StoreError(
            f"{folder}: cannot be deleted: {error.strerror}. Mend its permissions, and run again"
        ) from error
