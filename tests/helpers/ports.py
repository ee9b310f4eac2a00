"""Ports of this machine that nobody listens on, and that nobody else is given."""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

# The kernel gives its own to whoever asks for any: this one stays below all of those.
_RANGE = range(15_000, int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0]))
_FOLDER = Path(tempfile.gettempdir()) / "swathe-ports"
# Held for as long as this process lives; so two that run tests at the same time never have the same.
_held: list[int] = []


def free_port(count: int = 1) -> int:
    """Return the first of several ports that follow one another, for this process alone."""
    _FOLDER.mkdir(mode=0o1777, exist_ok=True)
    # Not from the stream of the tests, which has to be the same every time.
    draw = random.Random(os.urandom(8))
    while True:
        first = draw.randrange(_RANGE.start, _RANGE.stop - count)
        wanted = range(first, first + count)
        locks = [os.open(_FOLDER / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666) for port in wanted]
        if all(map(_is_locked, locks)) and all(map(_is_free, wanted)):
            _held.extend(locks)
            return first
        for lock in locks:
            os.close(lock)


def _is_locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
