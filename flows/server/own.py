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
# How long a command waits that was told to start a server; a busy machine takes minutes.
_READY_S = 600.0


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

    def wait(self, limit_s: float = _READY_S) -> None:
        """Wait until it answers.

        Raises:
            SwatheError: When it ended, or takes too long.
        """
        limit = time.monotonic() + limit_s
        while not self.is_ready():
            if self.process.poll() is not None:
                raise SwatheError(f"Prefect's server for this run ended; {self.log} says why. Run without --prefect")
            if time.monotonic() > limit:
                raise SwatheError(
                    f"Prefect's server for this run does not answer after {limit_s:.0f} s; {self.log} says what it "
                    "does. Run without --prefect, or start one beforehand: swathe up"
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
    password, port = new_password(), _free_port()
    with log.open("wb") as said:
        log.chmod(0o600)
        process = subprocess.Popen(
            [sys.executable, SAFE, "-m", "flows.server.attended", *_command(port)],
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


def _command(port: int) -> list[str]:
    # Not `prefect server start`, which takes seconds to import what then starts this very program.
    found = find_spec("prefect")
    if found is None or found.origin is None:
        raise SwatheError("Prefect is not installed here; install swathe again")
    app = ["--app-dir", str(Path(found.origin).parent), "--factory", "prefect.server.api.server:create_app"]
    where = ["--host", _HERE, "--port", str(port), "--log-level", "warning", "--lifespan", "on"]
    return [sys.executable, SAFE, "-m", "uvicorn", *app, *where]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HERE, 0))
        port: int = probe.getsockname()[1]
        return port
