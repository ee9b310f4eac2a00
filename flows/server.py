"""The Prefect server that runs are told to."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import chdir, contextmanager, suppress
from pathlib import Path

import httpx
import psutil

from flows.profiles import load_prefect, new_password
from models.errors import SwatheError
from tasks.safe_path import NEUTRAL

logger = logging.getLogger(__name__)

_TIMEOUT_S = 15.0
# What Prefect raises when the server that it starts for one run does not come up.
_NO_SERVER = "ephemeral Prefect API server"
# What it raises when a flow begins and the server is not there.
_UNREACHABLE = "Failed to reach API at "


def require_server() -> None:
    """Ask the server that ``PREFECT_API_URL`` names, where it names one, whether it is there.

    Raises:
        SwatheError: When it is not; Prefect itself would end in a traceback, after a minute.
    """
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return
    try:
        # Whatever it answers: one behind a password answers too.
        httpx.get(f"{url.rstrip('/')}/health", timeout=_TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SwatheError(
            f"{url}: no Prefect server answers there ({error}). Start it, or unset PREFECT_API_URL to run without one"
        ) from error


def start_own_server() -> None:
    """Start Prefect's own server for the time of this process, where no server is named, behind a password of its own.

    Without one, every user of the machine could read parameters, artifacts and logs of its runs, and cancel them. The
    password stands in the environment of this process, and of those that it starts. Must come before flows are run.
    """
    load_prefect()
    from prefect.context import refresh_global_settings_context
    from prefect.settings import get_current_settings

    if get_current_settings().api.url:
        return
    logger.info("Prefect starts a server of its own for this run; PREFECT_API_URL would name one that is there")
    password = new_password()
    os.environ |= {"PREFECT_SERVER_API_AUTH_STRING": password, "PREFECT_API_AUTH_STRING": password}
    # The server reads settings and modules in the folder that it is started in, as this process does.
    with chdir(NEUTRAL):
        refresh_global_settings_context()
        from prefect.server.api.server import SubprocessASGIServer

        _keep_private(get_current_settings().home / "prefect.db")
        server = SubprocessASGIServer()
        server.start()
    process = server.server_process
    if process is None or not listens_itself(process.pid, server.port or 0):
        raise SwatheError(f"{server.address}: another program took the port of Prefect's own server. Try again")


def listens_itself(pid: int, port: int) -> bool:
    """Tell whether it is a process, or what it started, that listens at a port.

    Who else answers there is told no password: the port of a server stands in its command line, for every user of the
    machine to read, seconds before the server has it.
    """
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        found = [connection for one in family for connection in one.net_connections("tcp")]
    except psutil.NoSuchProcess:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in found)


def _keep_private(database: Path) -> None:
    """Close the server's database to other users before it holds anything: SQLite's other files get the same rights."""
    with suppress(OSError):
        # A home that cannot be written to is Prefect's to complain of, which it does by name.
        descriptor = os.open(database, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        os.fchmod(descriptor, 0o600)
        os.close(descriptor)


@contextmanager
def server_failures() -> Iterator[None]:
    """Name what users meet when Prefect has no server.

    Raises:
        SwatheError: When the server that Prefect starts for one run did not come up in time, or the one that
            ``PREFECT_API_URL`` names went away.
    """
    try:
        yield
    except RuntimeError as error:
        if _NO_SERVER in str(error):
            raise SwatheError(
                "Prefect's own server did not come up in time: the machine is busy, or cannot start it. Try again, "
                "raise PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, or start one (swathe up) and name it in "
                "PREFECT_API_URL"
            ) from error
        if not str(error).startswith(_UNREACHABLE):
            raise
        raise SwatheError(_went_away(error)) from error
    except httpx.TransportError as error:
        raise SwatheError(_went_away(error)) from error


def _went_away(error: Exception) -> str:
    url = os.environ.get("PREFECT_API_URL", "Prefect's own server")
    return f"{url}: the Prefect server went away ({error}). What is done is kept: run again when it is back"
