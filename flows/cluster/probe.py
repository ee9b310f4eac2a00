"""What a worker says of itself. Sent as text: a worker without swathe, or of another Python, can read nothing else."""

import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil


def report(question: dict[str, Any]) -> dict[str, Any]:
    """Answer what a client asks of a worker, with no more than Dask itself needs.

    Args:
        question: ``packages``: names of distributions; ``code``: packages whose sources are hashed; ``imports``:
            modules that must load; ``paths``: paths by what they are called; ``marker``: a file, and ``token``: what
            stands in it, both None where nothing is shared.

    Returns:
        ``python``, ``packages`` (versions by name, None where missing), ``code`` (a digest), ``folders`` (where that
        lies), ``replaced`` (whether the code is younger than this process, which then has loaded another), ``imports``
        and ``storage`` (what is wrong, one line each), ``host``.
    """
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in question["packages"]},
        "code": _digest(question["code"]),
        "folders": _folders(question["code"]),
        "replaced": was_replaced(question["code"], psutil.Process().create_time()),
        "imports": _failing(question["imports"]),
        "storage": _unseen(question["paths"], question["marker"], question["token"]),
        "host": platform.node(),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _digest(packages: list[str]) -> str:
    digest = hashlib.sha256()
    for name, path in _sources(packages):
        digest.update(f"{name}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _folders(packages: list[str]) -> list[str]:
    depths = {str(path).removesuffix(name) for name, path in _sources(packages)}
    return sorted(folder.rstrip("/") for folder in depths)


def was_replaced(packages: list[str], since: float) -> bool:
    """Tell whether a source file was put in place after a time, in seconds since 1970."""
    return any(path.stat().st_ctime > since for _, path in _sources(packages))


def _sources(packages: list[str]) -> Iterator[tuple[str, Path]]:
    for package in packages:
        try:
            found = importlib.util.find_spec(package)
        except ImportError:
            found = None
        for folder in (found.submodule_search_locations or ()) if found else ():
            for path in sorted(Path(folder).rglob("*.py")):
                yield f"{package}/{path.relative_to(folder).as_posix()}", path


def _failing(modules: list[str]) -> list[str]:
    failing = []
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            failing.append(f"cannot import {module} ({type(error).__name__}: {error})")
    return failing


def _unseen(paths: dict[str, str], marker: str | None, token: str | None) -> list[str]:
    unseen = [f"cannot see {name}" for name, path in paths.items() if not os.access(path, os.R_OK)]
    if marker is None or token is None:
        return unseen
    shared = Path(marker)
    try:
        if shared.read_text() != token:
            unseen.append(f"sees another folder under {shared.parent.parent}")
        own = shared.with_name(f"{shared.name}.{platform.node()}.{os.getpid()}")
        own.write_text(token)
        own.unlink()
    except OSError as error:
        unseen.append(f"cannot use OUT, {shared.parent.parent} ({error.strerror})")
    return unseen
