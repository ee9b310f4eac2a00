"""From what a user named to a described, identified scene."""

from __future__ import annotations

import glob
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.answers.crop.settings import CropAnalysis
from tasks.answers.fire.settings import FireAnalysis
from tasks.declared import is_local, require_inside
from tasks.errors import BandError, ChangedSceneError, JobError, SceneError
from tasks.fingerprint import Fingerprint, combined_sha256, dataset_sha256, file_sha256
from tasks.ledger import Ledger
from tasks.request import Request
from tasks.scenes.input import Input
from tasks.scenes.naming import dates_of
from tasks.scenes.raster import RasterScene, describe_raster, fingerprint
from tasks.scenes.remote import content_sha256, fetch

if TYPE_CHECKING:
    from tasks.scenes.volume import VolumeScene


def describe(request: Request, item: Input) -> RasterScene | VolumeScene:
    """Open the headers of an input and describe it for the model.

    A compressed volume is spooled into the scratch folder, once.

    Raises:
        SceneError: When the input cannot be segmented as the job asks.
    """
    if request.job.kind == "raster":
        return describe_raster(item.id, item.files, request.job.source, request.card.channels)
    card = request.card
    if card.orientation is None:
        raise JobError(f"model '{card.name}': its card states no orientation; it cannot segment volumes")
    if card.n_channels != 1:
        wanted = ", ".join(card.channels)
        raise BandError(
            f"{item.id}: model '{card.name}' needs {card.n_channels} channels ({wanted}), a volume has one. "
            "Take a model of one channel"
        )
    # Here, because jobs of rasters do not need what reads volumes.
    from tasks.scenes.volume import describe_volume

    spool = request.out.scene_scratch(item.id) / "spool"
    path = _volume_path(request, item)
    return describe_volume(item.id, path, card.orientation, card.spacing_mm, spool, card.resampling)


def identify(request: Request, item: Input) -> Fingerprint:
    """Hash an input's content, that of the files which its analysis reads beside the mask among it.

    Scenes that have not changed since the last run are not read again.

    Raises:
        SceneError: When a file cannot be read.
    """
    found = _identify_scene(request, item)
    analysis = request.job.analysis
    beside = analysis.files(item.id) if isinstance(analysis, CropAnalysis) else {}
    for role, path in beside.items():
        require_inside(path, getattr(analysis, role), f"analysis.{role}")
    parts = [(role, dataset_sha256(path)) for role, path in sorted(beside.items())]
    if isinstance(analysis, FireAnalysis) and item.date not in (
        None,
        *dates_of(item.id, request.job.source.dates).values(),
    ):
        # Of a table: fires are called after it.
        parts.append(("date", hashlib.sha256(str(item.date).encode()).hexdigest()))
    if item.revision is not None and not found.content_hashed:
        parts.append(("revision", hashlib.sha256(item.revision.encode()).hexdigest()))
    if not parts:
        return found
    return Fingerprint(combined_sha256([("scene", found.sha256), *parts]), found.content_hashed)


def require_unchanged(request: Request, item: Input, fingerprint: Fingerprint) -> None:
    """Raise where an input's files were replaced while they were read; what was made of them is thrown away.

    Args:
        request: Names OUT.
        item: The scene; files of the same path, size and time are not read again.
        fingerprint: Of what was there before the first block.

    Raises:
        ChangedSceneError: When they are others now: some blocks may be of the old files, some of the new ones.
    """
    if identify(request, item).sha256 == fingerprint.sha256:
        return
    shutil.rmtree(request.out.scene_scratch(item.id), ignore_errors=True)
    raise ChangedSceneError(
        f"{item.id}: its files were replaced while they were read, so nothing of it is published. Run again"
    )


def _identify_scene(request: Request, item: Input) -> Fingerprint:
    ledger = Ledger(request.out.ledger)
    known_as = _stat(item.files)
    if known_as is not None and (known := ledger.fingerprint(known_as)) is not None:
        return known
    if request.job.kind == "volume":
        found = Fingerprint(file_sha256(_volume_path(request, item)), content_hashed=True)
    else:
        # What the analysis reads beside the model's channels is part of the input, too.
        extra = request.job.analysis.extra_bands if isinstance(request.job.analysis, FireAnalysis) else ()
        channels = tuple(dict.fromkeys((*request.card.channels, *extra)))
        found = fingerprint(describe_raster(item.id, item.files, request.job.source, channels))
    if known_as is not None:
        ledger.remember_fingerprint(known_as, found)
    return found


def _volume_path(request: Request, item: Input) -> Path:
    """Return where a volume lies in the file system: from behind a URL it is fetched into the scratch folder, once."""
    if len(item.files) != 1:
        raise SceneError(f"{item.id}: a volume is one file; the job names {len(item.files)}. Leave source.files to one")
    path = next(iter(item.files.values()))
    return Path(path) if is_local(path) else fetch(path, request.out.scene_scratch(item.id) / "fetched")


def _stat(files: Mapping[str, str]) -> str | None:
    """Return a hash of paths, sizes and times; None where they do not tell whether content changed."""
    facts: list[tuple[str | int | bool, ...]] = []
    for role, name in sorted(files.items()):
        path = Path(name)
        # A VRT stays the same when the files it names change.
        if path.suffix.lower() == ".vrt":
            return None
        if not is_local(name):
            told = content_sha256(name)
            if told is None:
                return None
            facts.append((role, name, *told))
            continue
        if not path.is_file():
            return None
        # Sidecars (masks, world files, nodata in .aux.xml) change what is read as well.
        for member in sorted(path.parent.glob(f"{glob.escape(path.stem)}.*")):
            stat = member.stat()
            facts.append((role, str(member.resolve()), stat.st_size, stat.st_mtime_ns))
    # Hashed, because a name may tell who the patient is.
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
