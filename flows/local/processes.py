"""Long-lived processes that one command starts and another one stops: these, and no others."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from tasks.durable import replace_file
from tasks.processes import Created, created, is_running

_STOPPING_S = 20.0


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


def start(name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> Service:
    """Start a process that outlives this one, in a session of its own.

    Args:
        name: Of the service.
        command: Path of the program and its arguments.
        environment: On top of this process's own.
        log: Gets what it says.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    pid = os.posix_spawn(
        command[0],
        list(command),
        {**os.environ, **environment},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        # Inherited as ignored from a shell's background job, Prefect's worker would never end on a signal.
        setsigdef=[signal.SIGINT],
    )
    return Service(name, pid, created(pid))


def stop(service: Service) -> None:
    """End a process and all of its group, by force where it does not end by itself."""
    if not service.runs:
        return
    group = os.getpgid(service.pid)
    os.killpg(group, signal.SIGTERM)
    try:
        psutil.Process(service.pid).wait(_STOPPING_S)
    except (psutil.TimeoutExpired, psutil.NoSuchProcess):
        if service.runs:
            os.killpg(group, signal.SIGKILL)


def write_services(path: Path, services: Sequence[Service]) -> None:
    """Remember what runs."""
    replace_file(path, json.dumps([asdict(service) for service in services], indent=2).encode())


def read_services(path: Path) -> list[Service]:
    """Return what was started and not yet stopped; nothing where there is no such file."""
    if not path.exists():
        return []
    return [Service(**entry) for entry in json.loads(path.read_text())]
