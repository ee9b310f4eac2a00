"""What masks made elsewhere are called, and what their classes are called by the job that is named."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from colorsys import hls_to_rgb
from pathlib import Path
from typing import Any, Literal

from models.card import Card, ClassEntry
from models.registry import is_without_weights, resolve_model
from tasks.errors import JobError
from tasks.files.declared import is_local
from tasks.inputs.naming import scene_id, stem_of
from tasks.jobs.job import Job

_OUR_MASK = "mask"
# Told apart without a table: orange, blue, green, pink, yellow, sky, red; then hues by steps of the golden angle.
_COLOURS = ("#e69f00", "#0072b2", "#009e73", "#cc79a7", "#f0e442", "#56b4e9", "#d55e00")
_GOLDEN_ANGLE = 0.381966011
_ENDINGS: dict[str, tuple[str, ...]] = {"raster": (".tif", ".tiff", ".vrt"), "volume": (".nii.gz", ".nii")}


def id_of_mask(path: str | Path) -> str:
    """Return the id of a mask's scene: its file's name, or its folder's where the file is called ``mask``."""
    return scene_id(_names_of(path)[-1])


def ids_of_masks(paths: Sequence[str]) -> list[str]:
    """Return the ids of a batch's scenes; masks of one name have as many of their folders in front as tell them apart.

    Raises:
        JobError: When one mask is named twice.
    """
    names = [_names_of(path) for path in paths]
    twice = sorted({path for path, parts in zip(paths, names, strict=True) if names.count(parts) > 1})
    if twice:
        raise JobError(f"masks of one name: {', '.join(twice)}. One place would be taken twice: name each mask once")
    groups, depths = [stem_of(Path(path).name) for path in paths], [1] * len(names)
    while True:
        ids = [scene_id("_".join(parts[-depth:])) for parts, depth in zip(names, depths, strict=True)]
        counts = Counter(ids)
        # Files of one name go on alike: in an archive all are PATIENT_DATE, whoever else was seen that day.
        unclear = {group for group, name in zip(groups, ids, strict=True) if counts[name] > 1}
        if not unclear:
            return ids
        alike = [k for k, group in enumerate(groups) if group in unclear]
        if all(depths[k] >= len(names[k]) for k in alike):
            # Names that differ in nothing that an id can hold, such as "a b" and "a_b".
            return [
                f"{name}-{_digest(path)}" if counts[name] > 1 else name for path, name in zip(paths, ids, strict=True)
            ]
        depths = [depth + (k in alike) for k, depth in enumerate(depths)]


def _digest(path: str) -> str:
    return hashlib.sha256("/".join(_names_of(path)).encode(errors="surrogateescape")).hexdigest()[:6]


def _names_of(path: str | Path) -> tuple[str, ...]:
    """Return what a mask may be called by: the folders it lies in, and its own name last."""
    # Links are not followed: OUT/SCENE is one, and the scene's name.
    *folders, name = Path(os.path.normpath(Path(path).absolute())).parts[1:]
    stem = stem_of(name)
    return (*folders,) if stem == _OUR_MASK and folders else (*folders, stem)


def numbered_class(number: int) -> ClassEntry:
    """Return a class that nobody named; 0 is grey. No two of 0 to 254 share a colour."""
    return ClassEntry(name=f"class {number}", colour=_colour(number))


def _colour(number: int) -> str:
    if number <= len(_COLOURS):
        return _COLOURS[number - 1] if number else "#7f7f7f"
    # Hues far from those just before; light, middle and dark in turn, paler every eighteen numbers.
    step = number - len(_COLOURS) - 1
    hue = (step * _GOLDEN_ANGLE) % 1.0
    lightness, saturation = (0.62, 0.42, 0.8, 0.3)[step % 4], (0.75, 0.45, 0.95)[step // 18 % 3]
    return "#" + "".join(f"{round(255 * part):02x}" for part in hls_to_rgb(hue, lightness, saturation))


def absent_class(names: Sequence[str], label: int, held: Iterable[int], nodata: float | None = None) -> tuple[str, ...]:
    """Warn where a mask does not hold the class that is asked about, and holds others.

    Args:
        names: Of the classes, by number.
        label: The class.
        held: Numbers that occur.
        nodata: What the mask's file declares as not observed.
    """
    asked = f"class {label} ({names[label]}), which was asked about"
    if nodata == label and label not in held:
        text = f"{asked}, is what the mask declares as nodata, and counts as not observed"
        return (f"{text}. Unset its nodata (gdal_edit.py -unsetnodata), or check analysis.label",)
    others = sorted(set(held) - {0})
    if not others or label in others:
        return ()
    shown = ", ".join(f"{number} ({names[number]})" if number < len(names) else str(number) for number in others)
    return (f"the mask does not hold {asked}, but {shown}: check analysis.label",)


def masks_in(paths: Sequence[str], kind: Literal["raster", "volume"]) -> list[str]:
    """Return the masks that paths name: files, products, folders of products, folders of masks.

    A product is taken by its mask. In a folder products and the masks of patients (``SCENE/mask.tif``,
    ``PATIENT/mask.nii.gz``) go before loose files.

    Raises:
        JobError: When there is no such file or folder, or a folder holds no mask.
    """
    require_there(paths)
    return [mask for path in paths for mask in (_in_folder(Path(path), kind) if Path(path).is_dir() else [path])]


def require_there(paths: Iterable[str]) -> None:
    """Refuse paths of a command that lead nowhere; what is not on disk is not looked for.

    Raises:
        JobError: When there is no such file or folder.
    """
    for path in paths:
        if is_local(path) and not Path(path).exists():
            raise JobError(f"{path}: no such file or folder. Check the path")


def _in_folder(folder: Path, kind: Literal["raster", "volume"]) -> list[str]:
    endings = _ENDINGS[kind]
    names = [f"{_OUR_MASK}{ending}" for ending in endings]
    found = [folder / name for name in names if (folder / name).is_file()]
    found = found or sorted(
        path for name in names for path in folder.glob(f"*/{name}") if not path.parent.name.startswith(".")
    )
    # Names that begin with a dot are of the system's, such as those that macOS lays beside every file.
    found = found or sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and not path.name.startswith(".") and path.name.casefold().endswith(endings)
    )
    if not found:
        looked = f"{names[0]}, */{names[0]}, *{endings[0]}"
        raise JobError(f"{folder}: holds no mask; looked for {looked}. Name a mask, a product, or a folder of them")
    return [str(path) for path in found]


def card_of(job: Job | None, kind: Literal["raster", "volume"]) -> Card | None:
    """Return the card of the model that a job names; None where it names none with classes, or one of another kind.

    Raises:
        ModelError: When the model cannot be had.
    """
    if job is None or job.kind != kind:
        return None
    name = job.model.name or job.model.weights
    return None if name is None or is_without_weights(name) else resolve_model(name, job.model.sha256)[0]


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
