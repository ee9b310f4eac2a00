"""The Prefect server that runs are told to."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

from models.errors import SwatheError

logger = logging.getLogger(__name__)

_TIMEOUT_S = 15.0


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


def keep_private(database: Path) -> None:
    """Close the server's database to other users before it holds anything: SQLite's other files get the same rights."""
    with suppress(OSError):
        # A home that cannot be written to is Prefect's to complain of, which it does by name.
        descriptor = os.open(database, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        os.fchmod(descriptor, 0o600)
        os.close(descriptor)
