"""What may be opened: what a user names is declared; what a file names is not, unless an operator allows it."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

from models.printable import is_utf8
from tasks.errors import JobError, SceneError, UndeclaredError

# Folders, joined as in PATH, below which job files and rasters may name files.
FOLDERS = "SWATHE_FOLDERS"
# Beginnings of URLs and /vsi paths, with spaces between, that files may name.
REMOTE = "SWATHE_REMOTE"
# Handlers and schemes that fetch what was named and nothing else: no archives, streams or chains of handlers.
_HANDLERS = (
    "/vsicurl/", "/vsicurl?", "/vsis3/", "/vsigs/", "/vsiaz/", "/vsiadls/", "/vsioss/", "/vsiswift/", "/vsihdfs/",
    "/vsiwebhdfs/",
)  # fmt: skip
_SCHEMES = ("https://", "http://", "s3://", "gs://", "az://", "oss://")
_OUTSIDE = re.compile(r"(^|[/\\])\.\.($|[/\\])")
# An address of IPv6, which has colons of its own.
_ADDRESS = re.compile(r"\[[0-9a-fA-F:.]*\]")
# Keys of job files whose values are files or folders.
_FILES_OF_JOBS = ("model.weights", "model.name", "analysis.fields", "analysis.samples", "analysis.alerts.assets",
    "nightly.stac.area")  # fmt: skip


def is_local(path: str) -> bool:
    """Tell whether a path lies in the file system rather than behind a URL or one of GDAL's /vsi handlers."""
    return not path.startswith("/vsi") and "://" not in path


def require_utf8(path: str) -> None:
    """Refuse a name that no library, ledger or server can be told of: those of files may be any bytes.

    Raises:
        SceneError: When it is not UTF-8.
    """
    if not is_utf8(path):
        raise SceneError(f"{path}: a name that is not UTF-8. Rename it, such as with convmv")


def leads_out(pattern: str) -> bool:
    """Tell whether a path that should be relative to a folder is absolute or climbs out of it."""
    return not is_local(pattern) or Path(pattern).is_absolute() or bool(_OUTSIDE.search(pattern))


def allowed_folders() -> tuple[Path, ...]:
    """Return the folders that the operator allows, links resolved."""
    return tuple(Path(text).resolve() for text in os.environ.get(FOLDERS, "").split(os.pathsep) if text)


def lies_below(path: Path, folders: Iterable[Path]) -> bool:
    """Tell whether what a path leads to, links followed, lies in one of the folders or in one that is allowed."""
    real = path.resolve()
    return any(real.is_relative_to(folder.resolve()) for folder in (*folders, *allowed_folders()))


def require_remote(path: str) -> None:
    """Refuse a URL or /vsi path that reads anything but the one thing it names.

    Raises:
        UndeclaredError: When it is an archive, a stream, a chain of handlers, or of an unknown scheme.
    """
    if not _is_plain(path) or _OUTSIDE.search(path.split("?", 1)[0]):
        raise UndeclaredError(
            f"{path}: not read: archives, streams and chains of handlers are refused, so is '..'. Unpack it, or give "
            f"one of {', '.join((*_SCHEMES[:4], *_HANDLERS[:1], _HANDLERS[2]))}..."
        )


def is_allowed_remote(path: str) -> bool:
    """Tell whether the operator allows files to name this URL or /vsi path."""
    named = path.removeprefix("/vsicurl/")
    if not _is_plain(path) or _OUTSIDE.search(path):
        return False
    prefixes = (text.removeprefix("/vsicurl/").rstrip("/") + "/" for text in os.environ.get(REMOTE, "").split())
    return any(named.startswith(prefix) for prefix in prefixes)


def place_files_of_job(raw: dict[str, Any], origin: str, folder: Path, overridden: Container[str] = ()) -> None:
    """Let relative names in a job file start at its folder, and refuse one that names files outside of it.

    Args:
        raw: Its keys and values, before anything that a command overrides; names are made absolute in it.
        origin: Its name, for errors.
        folder: It lies in.
        overridden: Keys that the command sets: what the file says of them does not count.

    Raises:
        JobError: When a key names a URL, or a file that is neither below ``folder`` nor below an allowed one.
    """
    for key in _FILES_OF_JOBS:
        *parents, last = key.split(".")
        section = _section(raw, parents)
        name = section.get(last) if section is not None else None
        is_set = any(".".join((*parents, last)[:depth]) in overridden for depth in range(1, len(parents) + 2))
        if section is None or not isinstance(name, str) or is_set or (key == "model.name" and not _is_path(name)):
            continue
        placed = folder / name
        if not is_local(name) or not lies_below(placed.absolute(), [folder]):
            raise JobError(
                f"{origin}: '{key}' names {name}, which is not below the job file's folder. Name it on the command "
                f"line (--set {key}=...), move it beside the job, or allow its folder in {FOLDERS}"
            )
        section[last] = str(placed)


def require_inside(path: str, pattern: str, key: str) -> None:
    """Refuse a file that ``{scene}`` made out of a pattern, where links lead it out of the pattern's folder.

    Raises:
        UndeclaredError: When it does.
    """
    if not is_local(path):
        raise UndeclaredError(f"{path}: {key} is a file on disk. Copy it there")
    folder = Path(pattern.split("{scene}", 1)[0] + "x").parent
    if "{scene}" in pattern and not lies_below(Path(path), [folder]):
        raise UndeclaredError(
            f"{path}: {key} leads out of {folder}. Put the file itself there, or allow its folder in {FOLDERS}"
        )


def _is_plain(path: str) -> bool:
    """Tell whether one handler or scheme is named: GDAL chains them by /vsi, fsspec by two colons."""
    chained = "/vsi" in path[1:] or "::" in _ADDRESS.sub("", path)
    return path.startswith((*_HANDLERS, *_SCHEMES)) and not chained


def _is_path(name: str) -> bool:
    return os.sep in name or name.endswith((".json", ".safetensors", ".onnx", ".pt", ".pth", ".bin", ".ckpt"))


def _section(raw: dict[str, Any], keys: Iterable[str]) -> dict[str, Any] | None:
    node: object = raw
    for part in keys:
        node = node.get(part) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else None
