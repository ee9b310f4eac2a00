"""What masks made elsewhere are called, and what their classes are called by the job that is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from models.card import Card, ClassEntry
from models.registry import WITHOUT_WEIGHTS, resolve_model
from tasks.errors import JobError
from tasks.job import Job
from tasks.scenes.naming import scene_id, stem_of

_OUR_MASK = "mask"
# Told apart without a table: orange, blue, green, pink, yellow, sky, red; then again from the first.
_COLOURS = ("#e69f00", "#0072b2", "#009e73", "#cc79a7", "#f0e442", "#56b4e9", "#d55e00")


def id_of_mask(path: str | Path) -> str:
    """Return the id of a mask's scene: its file's name, or its folder's where the file is called ``mask``."""
    path = Path(path).absolute()
    return scene_id(path.parent.name if stem_of(path.name) == _OUR_MASK else stem_of(path.name))


def ids_of_masks(paths: Sequence[str]) -> list[str]:
    """Return the ids of a batch's scenes.

    Raises:
        JobError: When two masks have one name.
    """
    ids = [id_of_mask(path) for path in paths]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise JobError(f"masks of one name: {', '.join(twice)}. Their products would take one place: rename them")
    return ids


def numbered_class(number: int) -> ClassEntry:
    """Return a class that nobody named; 0 has the last colour."""
    return ClassEntry(name=f"class {number}", colour=_COLOURS[(number - 1) % len(_COLOURS)])


def card_of(job: Job | None, kind: Literal["raster", "volume"]) -> Card | None:
    """Return the card of the model that a job names; None where it names none with classes, or one of another kind.

    Raises:
        ModelError: When the model cannot be had.
    """
    if job is None or job.kind != kind:
        return None
    name = job.model.name or job.model.weights
    return None if name is None or name in WITHOUT_WEIGHTS else resolve_model(name, job.model.sha256)[0]


def what_decides(settings: dict[str, Any], job: Job | None, kind: Literal["raster", "volume"]) -> dict[str, Any]:
    """Return all but the files that a product of a mask depends on, as JSON has it.

    A job gives names and colours of classes, dates, and titles, whatever it asks.

    Args:
        settings: Of the analysis.
        job: None where the command names none.
        kind: Of the mask.
    """
    if job is None:
        return {"analysis": settings, "job": None}
    card = card_of(job, kind)
    known = {"name": job.job, "title": job.title, "source": job.source.model_dump(mode="json")}
    if card is None:
        return {"analysis": settings, "job": {**known, "model": None}}
    model = {
        "name": card.name,
        "channels": list(card.channels),
        "classes": {str(number): f"{entry.name} {entry.colour}" for number, entry in enumerate(card.classes)},
    }
    return {"analysis": settings, "job": {**known, "model": model}}
