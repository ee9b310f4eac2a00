"""From what a user named to a described, identified scene."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.dicom.spool import series_sha256, spool_picture, spool_series
from tasks.errors import ChangedSceneError, JobError
from tasks.files.declared import is_local, require_inside
from tasks.files.fingerprint import Fingerprint, combined_sha256, dataset_sha256, facts_sha256, file_sha256
from tasks.files.remote import fetch
from tasks.inputs.input import Input
from tasks.inputs.naming import dates_of
from tasks.intake.input_state import sources_of, state_of_dataset, state_of_raster, state_of_volume
from tasks.intake.request import Request
from tasks.out.ledger import InputRow, Ledger
from tasks.scenes.raster.scene import RasterScene, describe_raster, fingerprint
from tasks.scenes.volume_channels import files_by_channel, require_one_channel

if TYPE_CHECKING:
    from tasks.scenes.volume.scene import VolumeScene


def describe(request: Request, item: Input) -> RasterScene | VolumeScene:
    """Open the headers of an input and describe it for the model.

    A compressed volume is spooled into the scratch folder, once.

    Raises:
        SceneError: When the input cannot be segmented as the job asks.
    """
    if request.job.kind == "raster":
        files = opened_files(request, item)
        return describe_raster(
            item.id, files, source=request.job.source, channels=request.card.by_channel, stated=item.stated
        )
    card = request.card
    if card.orientation is None:
        raise JobError(f"model '{card.name}': its card states no orientation; it cannot segment volumes")
    # Here, because jobs of rasters do not need what reads volumes.
    from tasks.scenes.volume.scene import describe_volume

    spool = request.out.scene_scratch(item.id) / "spool"
    return describe_volume(
        item.id,
        _volume_paths(request, item),
        card_orientation=card.orientation,
        card_spacing_mm=card.spacing_mm,
        spool_dir=spool,
        resampling=card.resampling,
        voxel_size=request.job.source.voxel_size,
    )


def opened_files(request: Request, item: Input) -> Mapping[str, str]:
    """Return the files of an input that are opened in its stead: a picture of DICOM is written as a raster, once.

    Raises:
        SceneError: When the picture cannot be read.
    """
    if item.series is None or request.job.kind == "volume":
        return item.files
    spool = request.out.scene_scratch(item.id) / "spool"
    return {role: str(spool_picture(item.id, path, item.series, spool)) for role, path in item.files.items()}


def identify(request: Request, item: Input) -> Fingerprint:
    """Hash an input's content, that of the files which its analysis reads beside the mask among it.

    Scenes that have not changed since the last run are not read again.

    Raises:
        SceneError: When a file cannot be read.
    """
    return _identify(request, item, _hashed)


def recall(request: Request, item: Input) -> Fingerprint | None:
    """Return what ``identify`` would, where nothing of an input has changed since it was hashed; None where it has.

    No file is opened: it takes a ``stat`` per file. What lies behind URLs is not asked for.

    Raises:
        SceneError: When the input names what it may not.
    """
    if not all(is_local(name) for name in item.files.values()):
        return None
    try:
        return _identify(request, item, _recalled)
    except _ForgottenError:
        return None


def require_unchanged(request: Request, item: Input, fingerprint: Fingerprint) -> None:
    """Raise where an input's files were replaced while they were read; what was made of them is thrown away.

    Args:
        request: Names OUT.
        item: The scene; files in the state of the last time are not read again.
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


class _ForgottenError(Exception):
    """Something has changed since it was hashed."""


@dataclass(frozen=True)
class _Subject:
    """What is hashed as one: the files of a scene, or one that its analysis reads beside it.

    Attributes:
        name: Hash of how it is named and read.
        state: Returns the state of its files and of its sources.
        sources: Returns the files that its own files name.
        fingerprint: Reads it.
    """

    name: str
    state: Callable[[Sequence[str]], str | None]
    sources: Callable[[], tuple[str, ...]]
    fingerprint: Callable[[], Fingerprint]


def _identify(request: Request, item: Input, find: Callable[[Ledger, _Subject], Fingerprint]) -> Fingerprint:
    ledger = Ledger(request.out.ledger)
    found = find(ledger, _scene(request, item))
    analysis = request.job.analysis
    beside = {} if analysis is None else analysis.files(item.id)
    for role, path in beside.items():
        require_inside(path, getattr(analysis, role), f"analysis.{role}")
    parts = [(role, find(ledger, _dataset(path)).sha256) for role, path in sorted(beside.items())]
    told = (None, *dates_of(item.id, request.job.source.dates).values())
    if analysis is not None and analysis.tells_date and item.date not in told:
        # Of a table: the product tells it.
        parts.append(("date", hashlib.sha256(str(item.date).encode()).hexdigest()))
    if item.stated:
        # Other numbers come of the same bytes where a catalogue says otherwise of them.
        parts.append(("stated", facts_sha256(_stated_facts(item))))
    if item.revision is not None and not found.content_hashed:
        parts.append(("revision", hashlib.sha256(item.revision.encode()).hexdigest()))
    if not parts:
        return found
    return Fingerprint(combined_sha256([("scene", found.sha256), *parts]), found.content_hashed)


def _scene(request: Request, item: Input) -> _Subject:
    if item.series is not None:
        key = item.series
        return _Subject(
            name=facts_sha256(["series", item.files, key]),
            state=lambda _sources: state_of_volume(item.files),
            sources=tuple,
            fingerprint=lambda: Fingerprint(series_sha256(item.files, key), content_hashed=True),
        )
    if request.job.kind == "volume":
        files = _channel_files(request, item)
        return _Subject(
            name=facts_sha256(["volume", files]),
            state=lambda _sources: state_of_volume(item.files),
            sources=tuple,
            fingerprint=lambda: _volume_fingerprint(_volume_paths(request, item)),
        )
    # What the analysis reads beside the model's channels is part of the input, too.
    extra = () if request.job.analysis is None else request.job.analysis.extra_bands
    channels = tuple(dict.fromkeys((*request.card.channels, *extra)))
    source = request.job.source
    return _Subject(
        name=facts_sha256(["raster", item.files, source.model_dump(mode="json"), channels, _stated_facts(item)]),
        state=lambda sources: state_of_raster(item.files, sources),
        sources=lambda: sources_of(item.files),
        fingerprint=lambda: fingerprint(
            describe_raster(item.id, item.files, source=source, channels=channels, stated=item.stated)
        ),
    )


def _volume_fingerprint(channels: Sequence[Path]) -> Fingerprint:
    hashes = [file_sha256(path) for path in channels]
    whole = hashes[0] if len(hashes) == 1 else combined_sha256([(str(k), one) for k, one in enumerate(hashes)])
    return Fingerprint(whole, content_hashed=True)


def _dataset(path: str) -> _Subject:
    return _Subject(
        name=facts_sha256(["dataset", path]),
        state=lambda _sources: state_of_dataset(path),
        sources=tuple,
        fingerprint=lambda: Fingerprint(dataset_sha256(path), content_hashed=True),
    )


def _recalled(ledger: Ledger, subject: _Subject) -> Fingerprint:
    known = ledger.input(subject.name)
    if known is None or subject.state(known.sources) != known.state:
        raise _ForgottenError
    return known.fingerprint


def _hashed(ledger: Ledger, subject: _Subject) -> Fingerprint:
    try:
        return _recalled(ledger, subject)
    except _ForgottenError:
        # Before a byte is read: what changes while it is hashed has another state afterwards.
        sources = subject.sources()
        state = subject.state(sources)
        found = subject.fingerprint()
        if state is not None:
            ledger.remember_input(InputRow(subject.name, state, sources, found))
        return found


def _stated_facts(item: Input) -> dict[str, list[dict[str, Any]]]:
    return {role: [asdict(band) for band in bands] for role, bands in sorted(item.stated.items())}


def _channel_files(request: Request, item: Input) -> list[str]:
    return files_by_channel(item.id, item.files, request.job.source, request.card.channels)


def _volume_paths(request: Request, item: Input) -> list[Path]:
    """Return where the channels of a volume lie in the file system.

    From behind a URL they are fetched into the scratch folder, and a series of DICOM is written there as one file.

    Raises:
        BandError: When there are not as many files as channels.
    """
    if item.series is not None:
        require_one_channel(item.id, request.card.channels)
        spool = request.out.scene_scratch(item.id) / "spool"
        return [spool_series(item.id, item.files, key=item.series, rule=request.job.source.dicom, folder=spool)]
    return [_fetched(request, item, path) for path in _channel_files(request, item)]


def _fetched(request: Request, item: Input, path: str) -> Path:
    return Path(path) if is_local(path) else fetch(path, request.out.scene_scratch(item.id) / "fetched")
