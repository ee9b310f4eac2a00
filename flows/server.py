"""The Prefect server that runs are told to."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from models.errors import SwatheError

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
        logger.info("Prefect starts a server of its own for this run; PREFECT_API_URL would name one that is there")
        return
    try:
        # Whatever it answers: one behind a password answers too.
        httpx.get(f"{url.rstrip('/')}/health", timeout=_TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SwatheError(
            f"{url}: no Prefect server answers there ({error}). Start it, or unset PREFECT_API_URL to run without one"
        ) from error


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
