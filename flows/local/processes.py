"""Long-lived processes that one command starts and another one stops: these, and no others."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import chdir, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from pydantic import TypeAdapter, ValidationError

from models.errors import SwatheError
from models.validation import explained
from tasks.files.durable import replace_file
from tasks.files.safe_path import NEUTRAL, SAFE_PATH
from tasks.out.process_ledger import Created, created, is_running

# In the environment of all that is started for a home, and so of what that starts, in whatever session.
MARK = "SWATHE_STARTED_FOR"
_STOPPING_S = 20.0
_LOOKING_S = 0.1


@dataclass(frozen=True)
class Service:
    """A process that was started.

    Attributes:
        name: Such as ``server``; its log is named after it.
        pid: Of the process, which leads a group of its own.
        created: When it began: a later process with the same number is another one.
    """

    name: str
    pid: int
    created: Created

    @property
    def runs(self) -> bool:
        """Whether it is still there."""
        return is_running(self.pid, self.created)


_SERVICES = TypeAdapter(list[Service])


def start(name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> Service:
    """Start a process that outlives this one, in a session of its own and in the folder ``/``.

    Whatever lies in the current folder is neither imported nor read: Prefect takes settings from ``prefect.toml`` and
    ``.env`` there, and its worker imports flows from there, whatever the path says.

    Args:
        name: Of the service.
        command: Absolute path of the program and its arguments.
        environment: On top of this process's own.
        log: Gets what it says; this user alone may read it.
    """
    log = log.absolute()
    log.parent.mkdir(parents=True, exist_ok=True)
    # posix_spawn has no folder to start in.
    with chdir(NEUTRAL):
        pid = os.posix_spawn(
            command[0],
            list(command),
            {**os.environ, **SAFE_PATH, **environment},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            # Inherited as ignored from a shell's background job, Prefect's worker would never end on a signal.
            setsigdef=[signal.SIGINT],
        )
    return Service(name, pid, created(pid))


def stop(service: Service, within_s: float = _STOPPING_S) -> None:
    """End a process, all of its group and all that it started, by force where they do not end by themselves.

    Args:
        service: What to end.
        within_s: How long it may take to end by itself.
    """
    if not service.runs:
        return
    # Before it ends: then nothing tells any more who started them.
    below = _below(service)
    group = os.getpgid(service.pid)
    os.killpg(group, signal.SIGTERM)
    try:
        psutil.Process(service.pid).wait(within_s)
    except (psutil.TimeoutExpired, psutil.NoSuchProcess):
        if service.runs:
            os.killpg(group, signal.SIGKILL)
    end(below)


def end(processes: Sequence[psutil.Process], within_s: float = _STOPPING_S) -> None:
    """End processes that are still there, by force where they do not end by themselves.

    Args:
        processes: Which.
        within_s: How long they may take to end by themselves.
    """
    limit = time.monotonic() + within_s
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    # Not psutil.wait_procs: what nobody reaps, as in a container without an init, would count as there.
    left = list(filter(_is_there, processes))
    while left and time.monotonic() < limit:
        time.sleep(_LOOKING_S)
        left = list(filter(_is_there, left))
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def left_behind(home: Path, services: Sequence[Service]) -> list[psutil.Process]:
    """Return what was started for a home and has no running service above it any more.

    Args:
        home: That ``MARK`` names.
        services: Which of them run is looked at here.
    """
    this = psutil.Process()
    kept = {this.pid, *(parent.pid for parent in this.parents())}
    for service in services:
        if service.runs:
            kept |= {service.pid, *(process.pid for process in _below(service))}
    return [process for process in psutil.process_iter() if process.pid not in kept and _is_marked(process, home)]


def _below(service: Service) -> list[psutil.Process]:
    try:
        return psutil.Process(service.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _is_there(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _is_marked(process: psutil.Process, home: Path) -> bool:
    try:
        return process.uids().real == os.getuid() and process.environ().get(MARK) == str(home)
    except (psutil.Error, OSError):
        # It has ended meanwhile, or hides what it is.
        return False


def write_services(path: Path, services: Sequence[Service]) -> None:
    """Remember what runs."""
    replace_file(path, json.dumps([asdict(service) for service in services], indent=2).encode())


def read_services(path: Path) -> list[Service]:
    """Return what was started and not yet stopped; nothing where there is no such file.

    Raises:
        SwatheError: When the file is damaged.
    """
    try:
        found = _SERVICES.validate_json(path.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        why = explained(error) if isinstance(error, ValidationError) else error
        raise SwatheError(
            f"{path}: does not say which services run ({why}). Put a backup in its place, or end what runs of swathe "
            "on this machine and remove the file"
        ) from error
    return found
