"""Which folders other programs write models into, and the cache of what was made of them.

Each kind is a module beside this one with ``NAME``, ``is_folder``, ``files`` and ``write``, which ``Kind``
describes. To add a kind, write the module and put its name into ``_KINDS``. ``models.registry.resolve_model`` calls
``convert`` for every folder it is given, so that jobs, ``--model``, ``swathe models``, keys and ledger meet nothing
but an ordinary card.
"""

from __future__ import annotations

import hashlib
import tempfile
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from models.cache import cache_folder
from models.errors import CardError, SwatheError, UnknownModelError
from models.plain import read_plain

# Modules of this package, asked in this order.
_KINDS = ("nnunet", "monai_bundle")


class Kind(Protocol):
    """What a module of this package offers; torch is imported inside ``write``, not before."""

    NAME: str

    def is_folder(self, path: Path) -> bool:
        """Tell by names of files alone whether a folder is of this kind."""
        ...

    def files(self, path: Path) -> tuple[Path, ...]:
        """Return all files that ``write`` reads: what the cache knows a model by.

        Raises:
            CardError: When one that is needed is not there.
        """
        ...

    def write(self, path: Path, out: Path) -> None:
        """Write one card ``.json`` into the empty folder ``out``, and the weights that it names beside it.

        Raises:
            CardError: When something of the model cannot be mapped; the text names it.
            WeightsError: When the weights are not what they should be, or reading them would run code.
        """
        ...


def is_foreign(path: Path) -> bool:
    """Tell whether a folder is one that ``convert`` knows."""
    return _kind_of(path) is not None


def convert(path: Path) -> Path:
    """Convert a foreign folder, once for the bytes of its files.

    Args:
        path: A folder.

    Returns:
        The card, in the cache folder, with its weights beside it.

    Raises:
        UnknownModelError: When the folder is of no known kind.
        CardError: When something of the model cannot be mapped; the text names it.
        WeightsError: When the weights are not what they should be, or reading them would run code.
        SwatheError: When the cache folder cannot be written to.
    """
    kind = _kind_of(path)
    if kind is None:
        known = ", ".join(_load(name).NAME for name in _KINDS)
        raise UnknownModelError(f"{path}: a folder that holds no model we know; known: {known}")
    kept = cache_folder() / "models" / f"{kind.NAME.replace(' ', '-').lower()}-{_key(kind.files(path), path)}"
    if not kept.is_dir():
        _make(kind, path, kept)
    (card,) = kept.glob("*.json")
    return card


def _make(kind: Kind, path: Path, kept: Path) -> None:
    with _scratch(kept.parent) as scratch:
        made = Path(scratch) / "model"
        made.mkdir()
        kind.write(path, made)
        try:
            made.rename(kept)
        except OSError:
            # Another process was quicker; it made the same.
            if not kept.is_dir():
                raise


def _scratch(folder: Path) -> tempfile.TemporaryDirectory[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=folder, prefix=".partial-")
    except OSError as error:
        raise SwatheError(
            f"{folder}: converted models cannot be kept there: {error.strerror}. Name another folder in SWATHE_CACHE"
        ) from error


def _key(files: tuple[Path, ...], folder: Path) -> str:
    # What is made of a folder may change from version to version; some models are called after theirs.
    digest = hashlib.sha256(f"{version('swathe')}\0{folder.resolve().name}\0".encode())
    for file in sorted(files):
        try:
            content = hashlib.sha256(read_plain(file)).digest()
        except OSError as error:
            raise CardError(f"{file}: cannot be read: {error.strerror}") from error
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + content)
    return digest.hexdigest()[:16]


def _kind_of(path: Path) -> Kind | None:
    return next((kind for kind in map(_load, _KINDS) if kind.is_folder(path)), None)


def _load(name: str) -> Kind:
    kind: Kind = import_module(f"models.foreign.{name}")
    return kind
