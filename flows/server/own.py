"""A Prefect server for the runs of one command: behind a password of its own, and gone when the command is."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import httpx

from flows.server.profiles import new_password, profile
from flows.server.reached import keep_private, listens_itself
from models.errors import SwatheError
from tasks.files.safe_path import NEUTRAL, SAFE, SAFE_PATH

logger = logging.getLogger(__name__)

_HERE = "127.0.0.1"
_TRYING_S = 5.0
_ENDING_S = 10.0
# How often a command that waits for its server says so; a busy machine takes minutes to start one.
_TOLD_EVERY_S = 30.0
_LOOKED_AT, _LONGEST_WORDS = 4096, 300


@dataclass
class OwnServer:
    """A server that this process started.

    Attributes:
        port: Where it listens on this machine.
        process: The process that ends it when this one is gone.
        log: Holds what it says.
    """

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def address(self) -> str:
        """What a browser on this machine opens."""
        return f"http://{_HERE}:{self.port}"

    def is_ready(self) -> bool:
        """Tell whether it answers. Who else answers at its port is told no password."""
        try:
            health = httpx.get(f"{self.address}/api/health", timeout=_TRYING_S)
        except httpx.TransportError:
            return False
        return health.status_code == httpx.codes.OK and listens_itself(self.process.pid, self.port)

    def wait(self) -> None:
        """Wait until it answers, however long that takes, and say every half a minute what is waited for.

        Raises:
            SwatheError: When it ended.
        """
        begin = time.monotonic()
        told = begin
        while not self.is_ready():
            if self.process.poll() is not None:
                raise SwatheError(
                    f"Prefect's server for this run ended. Last words of {self.log}: {last_words(self.log)}. "
                    "Run without --prefect"
                )
            if time.monotonic() - told > _TOLD_EVERY_S:
                told = time.monotonic()
                logger.info(
                    "waiting for Prefect's server since %.0f s: %s", told - begin, last_words(self.log) or "no word yet"
                )
            time.sleep(0.2)


@contextmanager
def own_server() -> Iterator[OwnServer]:
    """Start a server for as long as the context lasts, and let the runs of this process be told to it.

    It has a password that stands in the environment of this process and of those that it starts. It does not wait
    until the server answers. Must come before Prefect is imported.
    """
    # As Prefect itself has it: what earlier servers of this user knew is there.
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser().absolute()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    keep_private(home / "prefect.db")
    log = home / "swathe-server.log"
    password = new_password()
    # Bound here and inherited, so that no other program can have the port before the server listens.
    with socket.socket() as bound, log.open("wb") as said:
        log.chmod(0o600)
        bound.bind((_HERE, 0))
        port: int = bound.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, SAFE, "-m", "flows.server.attended", *_command(bound.fileno())],
            env=os.environ
            | profile("server")
            | SAFE_PATH
            | {
                "PREFECT_HOME": str(home),
                "PREFECT_API_URL": f"http://{_HERE}:{port}/api",
                "PREFECT_UI_API_URL": f"http://{_HERE}:{port}/api",
                "PREFECT_SERVER_API_AUTH_STRING": password,
                "PREFECT_SERVER_EPHEMERAL_ENABLED": "true",
            },
            cwd=NEUTRAL,
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            pass_fds=(bound.fileno(),),
            # A signal for the command is not one for the server, which the command still has to tell of its end.
            start_new_session=True,
        )
    server = OwnServer(port, process, log)
    os.environ |= {"PREFECT_API_URL": f"{server.address}/api", "PREFECT_API_AUTH_STRING": password}
    user, _, secret = password.partition(":")
    logger.info("Prefect's server for this run starts at %s (user %s, password %s)", server.address, user, secret)
    try:
        yield server
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
            os.environ.pop(name, None)


def last_words(log: Path) -> str:
    """Return the last line of a log that says something; empty where there is none."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LOOKED_AT))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if any(map(str.isalnum, line))), "")[:_LONGEST_WORDS]


def _command(socket_number: int) -> list[str]:
    # Not `prefect server start`, which takes seconds to import what then starts this very program.
    found = find_spec("prefect")
    if found is None or found.origin is None:
        raise SwatheError("Prefect is not installed here; install swathe again")
    app = ["--app-dir", str(Path(found.origin).parent), "--factory", "prefect.server.api.server:create_app"]
    where = ["--fd", str(socket_number), "--log-level", "warning", "--lifespan", "on"]
    return [sys.executable, SAFE, "-m", "uvicorn", *app, *where]
