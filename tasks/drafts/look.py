"""A look at what somebody has, and the job that fits it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from models.card import Card
from models.registry import zoo_cards
from tasks import errors
from tasks.dicom.files import DICOMDIR, dicom_below, is_dicom_file
from tasks.drafts.draft import Draft, job_name
from tasks.drafts.items import draft_item
from tasks.drafts.rasters import CLOUDS, find_bands, likeness, looks_like_classes, scale_of
from tasks.drafts.roles import Roles, are_bands_of_one, below, find_roles, role_word
from tasks.drafts.sentinel import SCALE, safe_roles
from tasks.drafts.tables import first_of_list, table_files
from tasks.drafts.volumes import draft_dicom
from tasks.errors import JobError, SceneError, UnreadableSceneError
from tasks.files.declared import is_local
from tasks.inputs.listing import EXTENSIONS, SINGLE_ROLE
from tasks.inputs.naming import stem_of
from tasks.verdict.check import check_files

_RASTERS, _VOLUMES = EXTENSIONS["raster"], EXTENSIONS["volume"]
# Read where somebody names one, and not looked for beside rasters: they are often pictures of these.
_PICTURES = (".png", ".jpg", ".jpeg")
_DOCUMENTS = (".json", ".geojson")
_JOBS = (".yaml", ".yml")
# Of an empty folder, what is told of it.
_MOST_TOLD = 5
_MOST_LOOKED_AT = 10_000
_FEW_CLASSES = 4


@dataclass(frozen=True)
class Model:
    """A model that somebody wants instead of a method that needs no training.

    Attributes:
        keys: Of the job's section ``model``.
        card: Of the model; None for methods that take whatever bands there are.
    """

    keys: Mapping[str, Any]
    card: Card | None = None


def draft_job(named: str, model: Model | None = None) -> Draft:
    """Write a job for a file, a folder or a STAC document: one that runs without an edit.

    Args:
        named: A GeoTIFF or the like, a NIfTI file, a file or folder of DICOM, a folder of rasters or volumes, a STAC
            document, by path or address, a table of scenes, or ``@`` and a list of files.
        model: Segments; a method that needs no training where left out.

    Raises:
        JobError: When there is nothing there that a job could be written for, or the model does not go with it.
        SceneError: When the file cannot be segmented.
    """
    draft = _look(named)
    return draft if model is None else _with_model(draft, model)


def draft_for_card(card: Card, keys: Mapping[str, Any], name: str) -> Draft:
    """Write a job for a model alone: its scenes are files with as many bands as it has channels, in their order.

    Args:
        card: Of the model.
        keys: Of the job's section ``model``.
        name: Of the job.
    """
    channels = ", ".join(card.channels)
    what = "Volumes" if card.kind == "volume" else f"Rasters with {card.n_channels} band(s): {channels}, in this order"
    return Draft(
        name=job_name(name),
        kind=card.kind,
        about=(f"Written for the model {card.name}. {what}", "For files of yours: swathe init FILE --model MODEL"),
        model=keys,
    )


def _look(named: str) -> Draft:
    if named.startswith("@"):
        return _look(first_of_list(named))
    if is_local(named):
        return _look_here(named)
    is_raster = named.split("?", 1)[0].casefold().endswith(_RASTERS)
    return _raster({"file": named}, {}, stem_of(named)) if is_raster else draft_item(named)


def _look_here(named: str) -> Draft:
    path, ending = Path(named), Path(named).suffix.casefold()
    if not path.exists():
        raise JobError(f"{named}: no such file or folder. Check the path")
    if ending in _JOBS:
        raise JobError(f"{named}: looks like a job. To check files against it: swathe check FILES --job {named}")
    if path.is_dir():
        draft = _folder(path)
    elif ending == ".csv":
        draft = _table(path)
    elif path.name.upper() == DICOMDIR or is_dicom_file(path):
        draft = draft_dicom(path, "scans")
    elif ending in _DOCUMENTS:
        draft = draft_item(named)
    elif named.casefold().endswith(_VOLUMES):
        draft = _volume([path], "my-volumes")
    else:
        draft = _raster({"file": named}, {}, stem_of(path.name))
    return draft


def _folder(folder: Path) -> Draft:
    safe = safe_roles(folder)
    if safe is not None:
        draft = _rasters(folder, safe)
        scaled = {name: place if name in CLOUDS else replace(place, scale=SCALE) for name, place in draft.bands.items()}
        return replace(draft, bands=scaled)
    rasters, volumes = list(below(folder, _RASTERS)), list(below(folder, _VOLUMES))
    if volumes and len(volumes) >= len(rasters):
        draft = _volumes(folder, find_roles(folder, volumes, role_word))
        return _beside(draft, rasters, "raster")
    pictures = [] if rasters else list(below(folder, _PICTURES))
    if not rasters and next(dicom_below(folder), None) is not None:
        return draft_dicom(folder, "scans")
    if not rasters and not pictures:
        raise JobError(f"{folder}: nothing to segment found, three folders deep; {_looked_for(folder)}")
    files = rasters or pictures
    roles = find_roles(folder, files, likeness, are_listed=bool(rasters))
    if not roles.patterns and are_bands_of_one(files):
        named = ", ".join(file.name for file in files[:_MOST_TOLD])
        raise JobError(
            f"{folder}: {named} look like bands of one scene, which is called after its folder. Give the folder above: "
            f"swathe init {folder.resolve().parent}"
        )
    return _beside(_rasters(folder, roles), volumes, "volume")


def _looked_for(folder: Path) -> str:
    """Return what a folder should hold, and what it holds."""
    below_it = islice(folder.rglob("*"), _MOST_LOOKED_AT)
    there = Counter(path.suffix or path.name for path in below_it if path.is_file())
    told = ", ".join(f"{count} x {ending}" for ending, count in there.most_common(_MOST_TOLD)) or "no file at all"
    return f"looked for {', '.join((*_RASTERS, *_PICTURES, *_VOLUMES))} and DICOM; found {told}"


def _rasters(folder: Path, roles: Roles) -> Draft:
    files = {role: str(path) for role, path in roles.example.items()}
    draft = _raster(files, roles.patterns, folder.resolve().name)
    return replace(
        draft, about=(*draft.about, *_counted(roles)), remarks=(*draft.remarks, *_labelled(roles), *_other_files(roles))
    )


def _beside(draft: Draft, others: Sequence[Path], kind: str) -> Draft:
    """Say what a folder holds of the other kind, which a job does not take."""
    if not others:
        return draft
    told = f"{len(others)} {kind}(s) lie in the folder as well, and a job is for one kind: write another for them"
    return replace(draft, remarks=(*draft.remarks, told))


def _other_files(roles: Roles) -> list[str]:
    if not roles.others:
        return []
    named = ", ".join(path.name for path in roles.others[:_MOST_TOLD])
    return [f"{len(roles.others)} other file(s) are not like most, and are refused: {named}. Put them elsewhere"]


def _table(path: Path) -> Draft:
    """Write a job for a table of scenes: its columns are the roles."""
    files, kind = table_files(path)
    names = {role: Path(file).name for role, file in files.items()}
    first = next(iter(files.values()))
    single = set(files) == {SINGLE_ROLE}
    if Path(first).is_dir() or (Path(first).is_file() and is_dicom_file(Path(first))):
        return draft_dicom(Path(first), "scans")
    patterns = {} if single else {role: f"{role}/{{scene}}{name[len(stem_of(name)) :]}" for role, name in names.items()}
    if kind == "volume":
        return replace(_volume([Path(first)], "my-volumes"), files=dict(list(patterns.items())[:1]))
    return _raster(files, patterns, stem_of(path.name))


def _counted(roles: Roles) -> list[str]:
    whole = f"{roles.n_whole} of {roles.n_scenes}" if roles.n_whole < roles.n_scenes else str(roles.n_scenes)
    together = f" of {len(roles.patterns)} files each" if len(roles.patterns) > 1 else ""
    return [f"Found {whole} scene{'' if roles.n_scenes == 1 else 's'}{together}"]


def _labelled(roles: Roles) -> list[str]:
    return [
        f"{pattern} looks like labels: for swathe train and swathe evaluate, not for a job" for pattern in roles.labels
    ]


def _raster(files: Mapping[str, str], patterns: Mapping[str, str], name: str) -> Draft:
    messages = _require_go(list(files.values()))
    remarks = []
    answers = [role for role, path in files.items() if not role_word(Path(role)) and looks_like_classes(path)]
    if 0 < len(answers) < len(files):
        files = {role: path for role, path in files.items() if role not in answers}
        patterns = {role: text for role, text in patterns.items() if role not in answers}
        remarks += [f"{role} holds few whole numbers, as classes do: it is left out" for role in answers]
    bands = find_bands(files, patterns)
    spectral = [band for band in bands.places if band.upper() not in CLOUDS]
    remarks += bands.remarks
    known = {band.casefold() for band in spectral}
    if len(spectral) == 1 and looks_like_classes(next(iter(files.values()))):
        remarks.append("Few whole numbers: if these are classes, swathe analyse and swathe evaluate take the file")
    fitting = [card.name for card in zoo_cards().values() if {c.casefold() for c in card.channels} <= known]
    remarks += [f"The bands are those of {name}, which ships: swathe init with --model {name}" for name in fitting]
    one = len(spectral) == 1
    return Draft(
        name=job_name(name),
        kind="raster",
        about=tuple(f"Looked at: {message}" for message in messages),
        files=patterns,
        examples={role if patterns else None: path for role, path in files.items()},
        bands=bands.places,
        invalid=bands.invalid,
        model={"name": "otsu"} if one else {"name": "kmeans", "arguments": {"classes": _FEW_CLASSES}},
        model_remark=(
            "Otsu's threshold, found in each scene: high is class 1. Others: swathe models"
            if one
            else "Groups pixels by their values, in each scene by itself, without training. Others: swathe models"
        ),
        remarks=tuple(remarks),
    )


def _volumes(folder: Path, roles: Roles) -> Draft:
    """Write a job for a folder of NIfTI files: a scene is one volume, so of several roles the first is taken."""
    role = next(iter(roles.example))
    draft = _volume([roles.example[role]], "my-volumes")
    beside = [
        f"{pattern} is not taken: a scene is one volume" for other, pattern in roles.patterns.items() if other != role
    ]
    patterns = {role: roles.patterns[role]} if roles.patterns else {}
    return replace(
        draft,
        about=(*draft.about, *_counted(roles)),
        files=patterns,
        remarks=(*draft.remarks, *beside, *_labelled(roles), *_other_files(roles)),
    )


def _volume(paths: Sequence[Path], name: str) -> Draft:
    messages = _require_go([str(path) for path in paths])
    return Draft(
        name=name,
        kind="volume",
        about=tuple(f"Looked at: {message}" for message in messages),
        model={"name": "otsu"},
        model_remark="Otsu's threshold, found in each volume: bright is class 1. Others: swathe models",
        remarks=("A scene is called after its file: give a table where names tell who a patient is",),
    )


def _require_go(paths: Sequence[str]) -> list[str]:
    """Return what each file is, in a line; one that cannot be segmented ends it.

    Raises:
        SceneError: The one that the verdict on a file names.
    """
    messages = []
    for verdict in check_files(paths):
        if not verdict.go:
            named = getattr(errors, verdict.error or "", UnreadableSceneError)
            raise named(verdict.message) if issubclass(named, SceneError) else UnreadableSceneError(verdict.message)
        messages.append(verdict.message)
    return list(dict.fromkeys(messages))


def _with_model(draft: Draft, model: Model) -> Draft:
    """Put a model into a job, and its channels where its bands are.

    Raises:
        JobError: When the model is of another kind, or its channels cannot be found.
    """
    if model.card is None:
        return replace(draft, model=model.keys, model_remark="")
    card = model.card
    if card.kind != draft.kind:
        raise JobError(f"model '{card.name}' segments a {card.kind}, and what was looked at is a {draft.kind}")
    draft = replace(draft, model=model.keys, model_remark="")
    if card.kind == "volume":
        return draft
    rules = {name: place for name, place in draft.bands.items() if name.upper() in CLOUDS}
    spectral = {name: place for name, place in draft.bands.items() if name not in rules}
    found = {name.casefold(): place for name, place in spectral.items()}
    if all(channel.casefold() in found for channel in card.channels):
        places = {channel: found[channel.casefold()] for channel in card.channels}
    elif len(spectral) == card.n_channels:
        pairs = zip(card.channels, spectral.items(), strict=True)
        places = {
            channel: replace(place, remark=f"{name}, taken by its place: is that right?")
            for channel, (name, place) in pairs
        }
    else:
        places = {}
    if places:
        scaled = {
            channel: replace(place, scale=scale_of(draft.examples[place.role], place, card.by_channel[channel]))
            for channel, place in places.items()
        }
        return replace(draft, bands=scaled | rules)
    raise JobError(
        f"model '{card.name}' takes {', '.join(card.channels)}; found {', '.join(spectral)}. Run swathe init without "
        "--model, name the bands in the job as the model calls them, and set model there"
    )
