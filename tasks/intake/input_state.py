"""The state that an input's files are in: what tells, without reading them, whether they are those of the last run."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from tasks.files.declared import is_local
from tasks.files.fingerprint import FileState, dataset_members, file_state
from tasks.files.remote import content_sha256
from tasks.scenes.raster.sidecars import beside, beside_in
from tasks.scenes.raster.undeclared import files_of, urls_of

# Two changes within this time may leave a folder with one time of change.
_SETTLED_NS = 2_000_000_000


def state_of_volume(files: Mapping[str, str]) -> str | None:
    """Return what changes when a volume's file does; None where nothing tells."""
    return _digest(files, ())


def state_of_raster(files: Mapping[str, str], sources: Sequence[str]) -> str | None:
    """Return what changes when any file of a raster scene does, or a sidecar comes or goes.

    It takes a ``stat`` per file, and lists a folder once while nothing changes in it.

    Args:
        files: Path or URL by role.
        sources: Of ``sources_of``, from when the scene was hashed.

    Returns:
        None where nothing tells: a file is gone, a store says nothing of its content, or a VRT names a URL.
    """
    if not all(map(is_local, sources)):
        return None
    local = [Path(name) for name in files.values() if is_local(name)]
    return _digest(files, with_sidecars([*local, *map(Path, sources)]))


def state_of_dataset(path: str) -> str | None:
    """Return what changes when a vector file or table does, with the files that belong to it; None where it is gone."""
    return _digest({}, dataset_members(path))


def sources_of(files: Mapping[str, str]) -> tuple[str, ...]:
    """Return the files and URLs that the rasters of a scene name, at any depth: what VRTs are made of.

    Raises:
        SceneError: When one names what it may not.
    """
    found: dict[str, None] = {}
    for name in files.values():
        if is_local(name):
            own = set(with_sidecars([Path(name)]))
            found |= dict.fromkeys(str(path) for path in files_of(name) if path not in own)
            found |= dict.fromkeys(urls_of(name))
    return tuple(found)


def with_sidecars(files: Iterable[Path]) -> Iterator[Path]:
    """Yield rasters, each with what GDAL reads beside it, once."""
    waiting, seen = list(files), set()
    while waiting:
        path = waiting.pop(0)
        if path not in seen:
            seen.add(path)
            yield path
            names = _names_in(path.parent)
            waiting.extend(beside(path) if names is None else beside_in(path, names))


def _digest(named: Mapping[str, str], others: Iterable[Path]) -> str | None:
    facts: list[tuple[object, ...]] = []
    for role, name in sorted(named.items()):
        told = file_state(name) if is_local(name) else content_sha256(name)
        if told is None:
            return None
        facts.append((role, name, *told))
    known = set(named.values())
    facts.extend((str(path), *(file_state(path) or ())) for path in sorted(others) if str(path) not in known)
    # Hashed, because a name may tell who the patient is.
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _names_in(folder: Path) -> frozenset[str] | None:
    """Return the names in a folder; None where it may not be listed, or is gone."""
    state = file_state(folder)
    if state is None:
        return None
    settled = abs(time.time_ns() - state[1]) > _SETTLED_NS
    try:
        return _listed(folder, state) if settled else _listed.__wrapped__(folder, state)
    except OSError:
        return None


@lru_cache(maxsize=16)
def _listed(folder: Path, _state: FileState) -> frozenset[str]:
    return frozenset(path.name for path in folder.iterdir())
