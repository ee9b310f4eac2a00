"""The institution's key: what pseudonyms and the audit log are made with, and what must never lie beside them."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from platformdirs import user_data_path

from tasks.errors import KeyFileError
from tasks.files.durable import sync
from tasks.files.room import writing

VARIABLE = "SWATHE_KEY_FILE"

_HEAD = "swathe-key-1"
_KEY_BYTES = 32
_LINE = re.compile(rf"{_HEAD} ([0-9a-f]{{{2 * _KEY_BYTES}}})\n?")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True)
class InstitutionKey:
    """A secret of 32 random bytes, one per institution.

    Attributes:
        secret: Known to nobody who may see the pseudonyms alone; not in the representation.
    """

    secret: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """Eight digits by which records say which key they were made with; they tell nothing of it."""
        return self.keyed("key id", "")[:4].hex()

    def keyed(self, purpose: str, text: str) -> bytes:
        """Return 32 bytes that nobody can compute, or trace back, without the key (HMAC-SHA-256).

        Args:
            purpose: What they are for: equal texts for different purposes are not seen to be equal.
            text: What they stand for.
        """
        message = f"{purpose}\0{text}".encode("utf-8", "surrogateescape")
        return hmac.digest(self.secret, message, hashlib.sha256)


def default_key_path() -> Path:
    """Return where the key lies unless ``SWATHE_KEY_FILE`` says otherwise: in the user's own data, 0600."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else user_data_path("swathe") / "institution.key"


def create_key(path: Path) -> InstitutionKey:
    """Write a new key into a file that is its owner's alone.

    Raises:
        KeyFileError: When there is a file already: overwriting a key loses every patient's pseudonym.
        StoreError: When the folder cannot be written to.
    """
    key = InstitutionKey(secrets.token_bytes(_KEY_BYTES))
    with writing("the institution's key", path.parent):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Whole from the first moment: another process may be looking for it. The name is drawn, the mode 0600.
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.") as file:
            file.write(f"{_HEAD} {key.secret.hex()}\n")
            file.flush()
            os.fsync(file.fileno())
            try:
                os.link(file.name, path)
            except FileExistsError as error:
                raise KeyFileError(
                    f"{path}: is there already. A new key gives every patient a new pseudonym: move the old one away "
                    "first, or name another file"
                ) from error
        sync(path.parent)
    return key


def rotate_key(path: Path) -> tuple[InstitutionKey, Path]:
    """Put a new key in the place of one that shall not be used any more.

    Returns:
        The new key, and where the old one lies now: beside it, named after its id.

    Raises:
        KeyFileError: When there is no usable key to rotate, or it was rotated away before.
        StoreError: When the folder cannot be written to.
    """
    old = load_key(path)
    kept = path.with_name(f"{path.name}.{old.id}")
    with writing("the institution's key", path.parent):
        try:
            os.link(path, kept)
        except FileExistsError as error:
            raise KeyFileError(f"{kept}: is there already, from an earlier rotation. Move it away first") from error
        path.unlink()
    return create_key(path), kept


def load_key(path: Path) -> InstitutionKey:
    """Read a key.

    Raises:
        KeyFileError: When it is not there, others may read it, or it is no key.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise KeyFileError(
            f"{path}: the institution's key cannot be read: {error.strerror}. Name the file in {VARIABLE}, or make a "
            "key with: swathe key create"
        ) from error
    with os.fdopen(descriptor) as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise KeyFileError(f"{path}: not a file. Name the file of the institution's key in {VARIABLE}")
        if mode & _OTHERS:
            raise KeyFileError(
                f"{path}: others than its owner may open it (mode {stat.S_IMODE(mode):04o}). Whoever reads the key can "
                f"undo the pseudonyms: chmod 600 {path}, and think of rotating it"
            )
        try:
            line = _LINE.fullmatch(file.read(4096))
        except UnicodeDecodeError:
            line = None
    if line is None:
        raise KeyFileError(
            f"{path}: holds no key that swathe wrote. Restore it from a copy: nothing else can replace it"
        )
    return InstitutionKey(bytes.fromhex(line[1]))


def require_outside(path: Path, out: Path, variable: str = VARIABLE) -> None:
    """Refuse a key or a crosswalk that lies where results are shown: whoever gets the folder would get both.

    Args:
        path: Of what undoes pseudonyms.
        out: Where results go.
        variable: Of the environment, which names its place.

    Raises:
        KeyFileError: When it lies below OUT.
    """
    if path.resolve().is_relative_to(out.resolve()):
        raise KeyFileError(
            f"{path}: lies in {out}, beside the pseudonyms that it can undo. Move it out, and name its new place in "
            f"{variable}"
        )


def institution_key(out: Path) -> InstitutionKey:
    """Return the key of this institution; made at its usual place where no file is named and there is none yet.

    Args:
        out: Where results go.

    Raises:
        KeyFileError: When it cannot be used, or lies in OUT.
        StoreError: When none can be made.
    """
    path = default_key_path()
    require_outside(path, out)
    if not os.environ.get(VARIABLE) and not path.exists():
        try:
            return create_key(path)
        except KeyFileError:
            # Made by another process since.
            return load_key(path)
    return load_key(path)
