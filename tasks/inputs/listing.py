"""From the inputs on a command line to the scenes of a batch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from models.errors import ExtensionError
from models.extensions import SOURCES, Extension, extensions
from models.printable import printable
from tasks.dicom.files import DICOMDIR, is_dicom_file
from tasks.dicom.naming import pseudonym
from tasks.errors import JobError, SceneError, UndeclaredError
from tasks.files.declared import FOLDERS, is_local, lies_below
from tasks.inputs.clashes import fail_clashes
from tasks.inputs.dicom import dicom_pictures, dicom_volumes, left_out
from tasks.inputs.earlier import paired
from tasks.inputs.input import Input
from tasks.inputs.naming import Pattern, first_date, scene_id, site_in, stem_of
from tasks.inputs.numbered import numbered_cases
from tasks.inputs.people import People
from tasks.jobs.job import Job
from tasks.scenes.tables import TableError, read_table

# The role of the file of a scene that is one file.
SINGLE_ROLE = "file"
# What files are called that are scenes, by kind.
EXTENSIONS = {"raster": (".tif", ".tiff", ".vrt", ".jp2", ".img"), "volume": (".nii", ".nii.gz")}
# What could become scenes, and how.
_TO_BE_MADE = {
    **dict.fromkeys((".zip", ".tar", ".tar.gz", ".tgz", ".7z"), "an archive; unpack it"),
    ".hdr": "of a pair of .hdr and .img; convert it to one .nii.gz, or name the .img if it is a raster of ENVI",
}
_DOCUMENTS = (".json", ".geojson")
_NAMELESS = "unnamed"
_NOTHING = ": no scene found; looked for "


def list_inputs(inputs: Sequence[str], job: Job, n_channels: int = 1, people: People | None = None) -> list[Input]:
    """Return the scenes that files, folders and tables name, each with the earlier one that the job compares it with.

    A folder without a scene is one that cannot be used, and so are scenes of one id. Arguments and errors are those of
    ``list_scenes``.
    """
    return taken(list_all_inputs(inputs, job, n_channels, people), job)


def taken(found: Sequence[Input], job: Job) -> list[Input]:
    """Return those of what ``list_all_inputs`` found that the job takes, each with the earlier one of its pair."""
    scenes = [item for item in found if not item.left_out]
    return scenes if job.source.pair is None else paired(scenes, job.source.pair, job.source.dates)


def list_all_inputs(inputs: Sequence[str], job: Job, n_channels: int = 1, people: People | None = None) -> list[Input]:
    """Return what ``list_inputs`` does, unpaired, and the series that the job leaves out, with the reason as error.

    Raises:
        JobError: As ``list_scenes`` does.
    """
    found: list[Input] = []
    for text in all_named(inputs):
        items = list(_list_one(text, job, people))
        if all(item.left_out for item in items):
            items.append(_without_scene(text, job, left_out(items)))
        found += items
    finished = _finished(found, job, n_channels)
    return fail_clashes(finished, "Name them apart in a CSV with the columns scene and one per file")


def list_scenes(inputs: Sequence[str], job: Job, n_channels: int = 1, people: People | None = None) -> list[Input]:
    """Return the scenes that files, folders and tables name, each by itself.

    Several may have one id, and a folder may have none.

    Args:
        inputs: Each a file, a URL or /vsi path, a folder, a STAC item, a search's answer or a catalogue, or a CSV with
            the columns ``scene``, one per role of the job (``file`` where it has none), and optionally ``site`` and
            ``date``; or ``@`` and a text file that names one of these per line, or with a zero byte behind each, as
            ``find -print0`` does: names of files may hold ends of lines.
        job: Its ``kind`` and ``source`` say what belongs to a scene.
        n_channels: Of the model: volumes that are numbered ``CASE_0000``, ``CASE_0001`` are the channels of one.
        people: Says whom DICOM shows; None where nobody asks.

    Raises:
        JobError: When a table lacks a column, or a pattern of the job is wrong.
        CatalogueError: When a STAC document is not there, or does not answer.
    """
    found = [item for text in all_named(inputs) for item in _list_one(text, job, people)]
    return _finished([item for item in found if not item.left_out], job, n_channels)


def require_scenes(items: Sequence[Input]) -> None:
    """Refuse inputs of which none holds anything that could be a scene.

    Args:
        items: As ``list_inputs`` returns them.

    Raises:
        JobError: When they are folders without a scene and nothing else; it says what was looked for.
    """
    empty = [item.error for item in items if item.error is not None and _NOTHING in item.error]
    if len(empty) == len(items):
        raise JobError("\n".join(empty) or "no input names a scene. Name files, folders or a table")


def looked_for(job: Job) -> str:
    """Return which files of a folder are scenes of a job, for whoever misses them."""
    return ", ".join(job.source.files.values()) or f"{', '.join(EXTENSIONS[job.kind])} and DICOM"


def _finished(found: Sequence[Input], job: Job, n_channels: int) -> list[Input]:
    if job.kind == "volume" and not job.source.files:
        found = numbered_cases(found, n_channels)
    nameless = itertools.count(1)
    scenes = [_dated(_absolute(item), job) for item in found]
    return [replace(item, id=f"{item.id}-{next(nameless)}") if item.id == _NAMELESS else item for item in scenes]


def all_named(inputs: Sequence[str]) -> Iterator[str]:
    """Yield what inputs name, lists opened.

    Raises:
        JobError: When a list cannot be read.
    """
    return itertools.chain.from_iterable(map(_expanded, inputs))


def _expanded(text: str) -> list[str]:
    """Return what a text file names, where that is what is given."""
    if not text.startswith("@"):
        return [text]
    try:
        content = Path(text[1:]).read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(f"{text}: not a readable list of inputs: {error}") from error
    # Not at whatever Python takes for the end of a line: names may hold that.
    names = content.split("\0") if "\0" in content else content.replace("\r\n", "\n").split("\n")
    return [name for name in names if name.strip()]


def _absolute(item: Input) -> Input:
    """Workers have working directories of their own."""
    local = {role: path for role, path in item.files.items() if not path.startswith("/vsi") and "://" not in path}
    return replace(item, files=item.files | {role: str(Path(path).absolute()) for role, path in local.items()})


def _list_one(text: str, job: Job, people: People | None) -> Iterator[Input]:
    path = Path(text)
    if _is_document(text, job):
        # Imported where it is asked for: pystac is not light.
        from tasks.inputs.stac_scenes import list_items

        yield from list_items(text, job)
    elif (scheme := text.partition("://")[0]) != text and scheme in extensions(SOURCES):
        yield from _added(extensions(SOURCES)[scheme], text, job)
    elif text.startswith("/vsi") or "://" in text:
        yield _single(text, job)
    elif not path.exists():
        reason = f"{text}: no such file or folder. Check the path"
        yield replace(_named(stem_of(path.name), {}), error=reason, beside=(text,))
    elif path.is_dir():
        yield from _list_folder(path, job, people)
    elif path.suffix.casefold() == ".csv":
        yield from _list_table(path, job, people)
    elif job.source.files:
        yield _from_member(path, job)
    elif path.name.upper() == DICOMDIR or is_dicom_file(path):
        yield from _dicom(path, job, people)
    else:
        yield _single(text, job)


def _added(extension: Extension, text: str, job: Job) -> Iterator[Input]:
    """Yield the scenes that a source of another package names.

    Raises:
        ExtensionError: When it cannot be loaded, or names something else than inputs.
    """
    list_scenes_of: Any = extension.load()
    for item in list_scenes_of(text, job):
        if not isinstance(item, Input):
            raise ExtensionError(f"{text}: {extension.origin} gives {type(item).__name__} in place of an Input")
        yield item


def _is_document(text: str, job: Job) -> bool:
    """Tell whether an input is a STAC document: JSON, or an address without the ending of a picture.

    Of addresses without an ending it is one where the job says which assets to take.
    """
    if is_local(text):
        return text.casefold().endswith(_DOCUMENTS) and Path(text).is_file()
    address = urlsplit(text)
    if address.scheme not in ("http", "https"):
        return False
    path = address.path.casefold()
    is_picture = path.endswith(tuple(ending for endings in EXTENSIONS.values() for ending in endings))
    return path.endswith(_DOCUMENTS) or (job.nightly.stac is not None and not is_picture)


def _single(text: str, job: Job) -> Input:
    item = _named(stem_of(text), {SINGLE_ROLE: text})
    if len(job.source.files) > 1:
        return replace(item, error=f"{text}: the job needs {_roles(job)}; name them all in a CSV")
    if job.source.files:
        return replace(item, files={next(iter(job.source.files)): text})
    return item


def _named(name: str, files: dict[str, str]) -> Input:
    try:
        return Input(id=scene_id(name), files=files)
    except SceneError as error:
        return Input(id=_NAMELESS, files=files, error=str(error))


def _list_folder(folder: Path, job: Job, people: People | None) -> Iterator[Input]:
    listed = list(_by_patterns(folder, job) if job.source.files else _by_extension(folder, job))
    # A tree of rasters is not searched for what is no raster, unless the job says so.
    if not job.source.files and (job.kind == "volume" or not listed or "dicom" in job.source.model_fields_set):
        listed += _dicom(folder, job, people)
    yield from (_inside(item, folder) for item in listed)


def _dicom(named: Path, job: Job, people: People | None) -> list[Input]:
    return (dicom_volumes if job.kind == "volume" else dicom_pictures)(named, job.source.dicom, people)


def _without_scene(folder: str, job: Job, reason: str | None) -> Input:
    item = _named(Path(folder).resolve().name, {})
    if reason is not None:
        # What a folder of scans is called may name a patient.
        return Input(id=f"input-{pseudonym(str(Path(folder).resolve()))}", files={}, error=reason)
    alike = next((path for text in job.source.files.values() for path in Pattern(text).alike(Path(folder))), None)
    hint = "" if alike is None else f"; {alike.name} differs from that in the case of its letters"
    hint = hint or next((f"; {path.name}: {told}" for path, told in _to_be_made(Path(folder))), "")
    return replace(item, error=f"{folder}{_NOTHING}{looked_for(job)}{hint}")


def _to_be_made(folder: Path) -> Iterator[tuple[Path, str]]:
    """Give files that could become scenes, each with what has to be done."""
    for path in sorted(folder.iterdir()):
        ending = next((ending for ending in _TO_BE_MADE if path.name.casefold().endswith(ending)), None)
        if ending is not None and path.is_file() and not path.name.startswith("."):
            yield path, _TO_BE_MADE[ending]


def _inside(item: Input, folder: Path, named: str = "") -> Input:
    """Refuse a scene that links lead out of the input folder: whoever may write there may not read everywhere."""
    outside = [path for path in item.files.values() if path != named and not lies_below(Path(path), [folder])]
    if not outside or item.error is not None:
        return item
    where = outside[0] if item.series is None else item.id
    reason = f"{where}: a link out of the input folder. Name the file itself in a CSV, or allow it in {FOLDERS}"
    return replace(item, error=f"{UndeclaredError.__name__}: {reason}")


def _by_patterns(folder: Path, job: Job) -> Iterator[Input]:
    found = {role: Pattern(text).find_all(folder) for role, text in job.source.files.items()}
    for scene in sorted({scene for members in found.values() for scene in members}):
        yield _assembled(scene, {role: members.get(scene, []) for role, members in found.items()}, job)


def _assembled(scene: str, members: dict[str, list[Path]], job: Job) -> Input:
    item = _named(scene, {role: str(paths[0]) for role, paths in members.items() if paths})
    for role, paths in members.items():
        if not paths:
            wanted = job.source.files[role].replace("{scene}", scene)
            return replace(item, error=f"{scene}: file '{role}' missing; expected {wanted} in the input folder")
        if len(paths) > 1:
            beside = tuple(map(str, paths))
            told = f"{len(paths)} files for '{role}', and a scene has one"
            reason = f"{scene}: {told}. Make source.files narrower: {', '.join(beside)}"
            return replace(item, error=reason, beside=beside)
    return item


def _by_extension(folder: Path, job: Job) -> Iterator[Input]:
    for path in sorted(folder.iterdir()):
        # Hidden files are none that somebody wants segmented: macOS lays ._a.tif beside every a.tif.
        if path.is_file() and not path.name.startswith(".") and path.name.casefold().endswith(EXTENSIONS[job.kind]):
            yield _named(stem_of(path.name), {SINGLE_ROLE: str(path)})


def _from_member(path: Path, job: Job) -> Input:
    for text in job.source.files.values():
        place = Pattern(text).split(path if path.is_absolute() else path.absolute())
        if place is not None:
            folder, scene = place
            found = {role: Pattern(p).find(folder, scene) for role, p in job.source.files.items()}
            return _inside(_assembled(scene, found, job), folder, named=str(path))
    if len(job.source.files) == 1:
        return _single(str(path), job)
    item = _named(stem_of(path.name), {SINGLE_ROLE: str(path)})
    return replace(item, error=f"{path}: matches no pattern under source.files: {_roles(job)}")


def _list_table(path: Path, job: Job, people: People | None) -> Iterator[Input]:
    roles = list(job.source.files) or [SINGLE_ROLE]
    try:
        table = read_table(path)
    except TableError as error:
        raise JobError(f"{path}: {error}") from error
    columns, rows = (table.columns, table.rows) if table.rows else ((), ())
    missing = [name for name in ("scene", *roles) if name not in columns]
    if missing:
        raise JobError(
            f"{path}: column(s) {', '.join(missing)} missing; found {', '.join(columns) or 'no row'}. "
            f"A table of scenes has the columns scene, {', '.join(roles)}, and may have site and date"
        )
    pair = {} if job.source.pair is None else job.source.pair.files
    found = [role for role in pair if role in columns]
    for row in rows:
        yield _of_dicom(_from_row(row, roles, found, path.parent), job, people)


def _of_dicom(item: Input, job: Job, people: People | None) -> Input:
    """Return what of DICOM a row of a table leads to, under the row's name; else the row as it is."""
    path = Path(next(iter(item.files.values()), ""))
    if item.error is not None or job.source.files or not is_local(str(path)):
        return item
    if not path.is_dir() and not (path.is_file() and is_dicom_file(path)):
        return item
    listed = _dicom(path, job, people)
    wanted = [volume for volume in listed if not volume.left_out]
    if len(wanted) == 1:
        (one,) = wanted
        item = replace(item, site=item.site or one.site, date=item.date or one.date, study=one.study)
        return replace(item, files=one.files, series=one.series, error=one.error)
    reason = left_out(listed) or f"{len(wanted)} series are taken; narrow source.dicom to one per row"
    return replace(item, error=f"{item.id}: {reason}")


def _from_row(row: Mapping[str, str], roles: list[str], found: list[str], folder: Path) -> Input:
    cells = {name: text.strip() for name, text in row.items()}
    files = {role: _resolved(cells[role], folder) for role in (*roles, *found) if cells[role]}
    item = _named(cells["scene"], files)
    absent = [role for role in roles if role not in files]
    if absent and item.error is None:
        item = replace(item, error=f"{item.id}: no path under {', '.join(absent)} in the table")
    day = cells.get("date") or None
    if day is not None and not _is_date(day):
        wrong = f"{item.id}: date '{day}' in the table is no date; write it like 2026-11-19"
        return replace(item, error=item.error or wrong)
    return replace(item, site=printable(cells.get("site", "")) or None, date=day)


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _resolved(text: str, folder: Path) -> str:
    return text if text.startswith("/vsi") or "://" in text else str(folder / text)


def _dated(item: Input, job: Job) -> Input:
    if item.site is None and job.source.site is not None:
        item = replace(item, site=site_in(item.id, job.source.site))
    if item.date is not None:
        return item
    return replace(item, date=first_date(item.id, job.source.dates))


def _roles(job: Job) -> str:
    return ", ".join(f"{role}: {text}" for role, text in job.source.files.items())
