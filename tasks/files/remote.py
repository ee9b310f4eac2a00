"""What lies behind a URL or one of GDAL's /vsi handlers: what tells its content, its first bytes, and all of it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.errors import OversizedSceneError, StoreError, UnreachableSceneError
from tasks.files.declared import require_remote
from tasks.files.fingerprint import facts_sha256

_CHUNK_BYTES = 4 << 20
_SPARE_BYTES = 64 << 20
_HANDLERS = {"/vsicurl/": "", "/vsis3/": "s3://", "/vsigs/": "gs://", "/vsiaz/": "az://", "/vsioss/": "oss://"}
# What stores call it that tells one content from another; sizes and times of the answer itself do not.
_TELLING = {"etag", "contentmd5", "digest", "lastmodified", "updated", "md5hash", "generation", "versionid", "mtime"}


def url_of(path: str) -> str:
    """Return a /vsi path as the URL that it stands for; a URL as it is."""
    for handler, scheme in _HANDLERS.items():
        if path.startswith(handler):
            return scheme + path.removeprefix(handler)
    return path


def content_sha256(path: str) -> tuple[str, bool] | None:
    """Return what changes when the content behind a path does.

    Args:
        path: A URL or /vsi path.

    Returns:
        A hash of what the store says of it (ETag, time of change, size), and False; a hash of the bytes, and True,
        where the store says nothing of the kind; None where no package for such a store is installed.

    Raises:
        UnreachableSceneError: When it cannot be read.
    """
    try:
        with _reached(path) as (store, name):
            info = store.info(name)
            told = {_plain(key): str(value) for key, value in info.items() if _plain(key) in _TELLING and value}
            if told:
                return facts_sha256(told | {"size": info.get("size")}), False
            return _sha256(store, name), True
    except ImportError:
        return None


def first_bytes(path: str, n_bytes: int) -> tuple[bytes, int | None]:
    """Return the first bytes behind a path, and how many there are where the store says.

    Raises:
        UnreachableSceneError: When it cannot be read, or no package for such a store is installed.
    """
    with _reached(path) as (store, name), _installed(path), store.open(name, "rb", cache_type="none") as file:
        size = store.info(name).get("size")
        return file.read(n_bytes), size


def fetch(path: str, folder: Path) -> Path:
    """Copy what is behind a path into a folder, unless its content is there already.

    An interrupted call leaves a ``.part`` file that the next one overwrites.

    Args:
        path: A URL or /vsi path.
        folder: Where to; created when missing.

    Returns:
        The copy, complete and on disk.

    Raises:
        UnreachableSceneError: When it cannot be read, or no package for such a store is installed.
        OversizedSceneError: When the folder's disk is too small.
        StoreError: When the folder cannot be written.
    """
    name = Path(url_of(path).split("?", 1)[0]).name
    with _installed(path):
        told = content_sha256(path)
    if told is None:
        raise _missing(path)
    copy = folder / told[0][:24] / name
    if copy.is_file():
        return copy
    part = copy.with_name(f"{name}.part")
    with _reached(path) as (store, remote), store.open(remote, "rb", cache_type="none") as source:
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            _require_room(path, source.size, folder)
            with part.open("wb") as sink:
                shutil.copyfileobj(source, sink, _CHUNK_BYTES)
                sink.flush()
                os.fsync(sink.fileno())
            part.replace(copy)
        except OSError as error:
            if error.errno is None:
                raise
            raise StoreError(f"{copy.parent}: cannot be written to: {error.strerror}. Make room") from error
    return copy


@contextmanager
def _reached(path: str) -> Iterator[tuple[Any, str]]:
    # Local files need none of it.
    from aiohttp import ClientError

    require_remote(path)
    try:
        # What another run learned of a store is out of date.
        # Here, because most scenes are local files.
        from fsspec.core import url_to_fs

        store, name = url_to_fs(url_of(path), skip_instance_cache=True)
        yield store, name
    except ImportError:
        raise
    except (OSError, ValueError, RuntimeError, ClientError) as error:
        said = f"{type(error).__name__}: {error}"[:200]
        raise UnreachableSceneError(f"{path}: cannot be read at the moment ({said}). Check the address") from error


@contextmanager
def _installed(path: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise _missing(path) from error


def _missing(path: str) -> UnreachableSceneError:
    scheme = url_of(path).partition("://")[0]
    packages = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs", "oss": "ossfs"}
    return UnreachableSceneError(f"{path}: reading {scheme}:// needs the package {packages.get(scheme, scheme)}")


def _sha256(store: Any, name: str) -> str:  # noqa: ANN401 - fsspec has no types
    digest = hashlib.sha256()
    with store.open(name, "rb", cache_type="none") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _require_room(path: str, n_bytes: int | None, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if n_bytes is not None and n_bytes + _SPARE_BYTES > free:
        raise OversizedSceneError(
            f"{path}: needs {n_bytes / 2**20:.0f} MiB of disk to be fetched, {free / 2**20:.0f} MiB are free; "
            "make room or choose another --out"
        )


def _plain(key: str) -> str:
    return key.casefold().replace("-", "").replace("_", "")
