"""Where everything of one OUT lies."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import HeldFolderError, StoreError
from tasks.files.durable import replace_file
from tasks.files.room import require_writable, writing
from tasks.inputs.naming import AUDIT, FIRES, LEDGER, LEDGER_FILES, NIGHTS, PATIENTS, lettered

# Whoever asks whether the folder is held, holds it for less than that.
_GLANCE_S = 0.3


@dataclass(frozen=True)
class OutFolder:
    """A POSIX folder that belongs to one job.

    Attributes:
        root: What the user named.
    """

    root: Path

    @property
    def ledger(self) -> Path:
        """What was done; durable."""
        return self.root / LEDGER

    @property
    def scratch(self) -> Path:
        """Work in progress; safe to delete when nothing runs."""
        return self.root / ".swathe"

    @property
    def freed(self) -> OutFolder:
        """Files that a job freed of names, as ``swathe deidentify`` lays them out; what it works on from then on."""
        return OutFolder(self.scratch / "freed")

    @property
    def tickets(self) -> Path:
        """What waits for the run that holds the folder."""
        return self.scratch / "tickets"

    def work(self, scene_id: str, key: str) -> Path:
        """Work in progress on one scene with one input, model, job and plan."""
        return self.scene_scratch(scene_id) / key

    def scene_scratch(self, scene_id: str) -> Path:
        """Work in progress on one scene."""
        return self.scratch / "scenes" / scene_id

    def product(self, scene_id: str, key: str) -> Path:
        """The finished, immutable folder of one product."""
        return self.root / ".products" / scene_id / key

    def link(self, scene_id: str) -> Path:
        """What users open: a symlink to the newest product."""
        return self.root / scene_id

    def keep_inputs(self, inputs: Sequence[str]) -> str:
        """Write what a command line named into a file, and return what stands for it among inputs.

        File names may tell who a patient is, and the parameters of a run are shown to many.

        Raises:
            StoreError: When the folder cannot be written to.
        """
        # Names may hold ends of lines, and no zero byte.
        text = "".join(f"{name}\0" for name in inputs)
        return f"@{self.keep_list(text, '.txt')}"

    def keep_list(self, text: str, suffix: str) -> Path:
        """Write a list of inputs into a file called after its content: runs that wait do not overwrite one another's.

        Raises:
            StoreError: When the folder cannot be written to.
        """
        self._make()
        content = text.encode()
        path = self.scratch / "inputs" / f"{hashlib.sha256(content).hexdigest()[:16]}{suffix}"
        path.parent.mkdir(exist_ok=True)
        replace_file(path, content)
        return path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one run; the lock dies with the process.

        Raises:
            HeldFolderError: When another run holds it.
            StoreError: When it cannot be written to, is full, leads elsewhere by links, or has no locks.
        """
        descriptor = self._open_lock()
        try:
            self._lock(descriptor)
            # By its holder alone: a disk that another run has filled is no fault of those that wait for it.
            self.require_own(*self._names())
            require_writable(self.scratch)
            with self._shown():
                yield
        finally:
            os.close(descriptor)

    def is_locked(self) -> bool:
        """Tell whether a run holds the folder now; whoever may read it may ask.

        Raises:
            StoreError: When it may not even be read.
        """
        descriptor = self._asked()
        if descriptor is None:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def require_own(self, *paths: Path) -> None:
        """Refuse links in places of this folder where runs write: they would write somewhere else.

        Raises:
            StoreError: When one of them is a link, or lies behind one.
        """
        root = self.root.resolve()
        for path in paths:
            if path.resolve() != root / path.relative_to(self.root):
                raise StoreError(f"{path}: leads to {path.resolve()}, and runs write below --out alone. Remove it")

    def _open_lock(self) -> int:
        self._make()
        self.require_own(self._own_lock)
        with writing("the lock", self.scratch):
            return open_for_writers(self._own_lock)

    @property
    def _own_lock(self) -> Path:
        """What a run holds; whoever may not write here cannot open it, and so not hold it either."""
        return self.scratch / "lock"

    @property
    def _shown_lock(self) -> Path:
        """What a run holds for others to see; nobody waits for it."""
        return self.scratch / "held"

    @contextmanager
    def _shown(self) -> Iterator[None]:
        with writing("the lock", self.scratch):
            descriptor = os.open(self._shown_lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            # Somebody who may only read holds it, and can make nobody but readers wrong.
            with suppress(BlockingIOError):
                _take(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _asked(self) -> int | None:
        """Open the lock that tells whether the folder is held; None where no run has ever held it."""
        for lock in (self._own_lock, self._shown_lock):
            try:
                return os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            except PermissionError as error:
                reason = error.strerror
        raise StoreError(f"{self._shown_lock}: cannot be read: {reason}. Mend its permissions")

    def _lock(self, descriptor: int) -> None:
        try:
            _take(descriptor)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise StoreError(
                    f"{self.root}: its file system has no locks ({error.strerror}), so two runs could write "
                    "here at once. Mount it with locks, or name another --out"
                ) from error
            raise HeldFolderError(
                f"{self.root}: another run is writing here. Wait for it, or name another --out"
            ) from error

    def _names(self) -> Iterator[Path]:
        own = (AUDIT, *LEDGER_FILES, ".swathe", ".products", FIRES, PATIENTS, NIGHTS)
        for name in (*own, f"{FIRES}/.products", f"{PATIENTS}/.products"):
            yield self.root / name
        for folder in (self.scratch, self.scratch / "scenes", self.root / ".products"):
            yield from folder.glob("*")

    def _make(self) -> None:
        self.require_own(self.scratch)
        try:
            self.scratch.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self.root}: cannot be written to: {error.strerror}. Name another --out") from error


def open_for_writers(path: Path) -> int:
    """Open a file, made where there is none, that those alone can open who may write in its folder.

    A lock can be held by whoever can open its file, and be it for reading.

    Returns:
        A descriptor to read and write by.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    folder, status = path.parent.stat(), os.fstat(descriptor)
    writers = folder.st_mode & 0o222
    if status.st_uid == os.geteuid():
        os.fchmod(descriptor, 0o600 | writers | writers << 1)
    return descriptor


def site_folder(site: str) -> str:
    """Return the name of a site's folder: no two sites have one, whatever they are called."""
    plain = lettered(site).lstrip(".-") or "site"
    return plain if plain == site else f"{plain}-{hashlib.sha256(site.encode()).hexdigest()[:8]}"


def _take(descriptor: int) -> None:
    """Take the lock, past those who only ask whether it is held."""
    until = time.monotonic() + _GLANCE_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.01)
