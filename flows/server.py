"""The Prefect server that runs are told to."""

from __future__ import annotations

import logging
import os

import httpx

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
        logger.info("Prefect starts a server of its own for this run; PREFECT_API_URL would name one that is there")
        return
    try:
        # Whatever it answers: one behind a password answers too.
        httpx.get(f"{url.rstrip('/')}/health", timeout=_TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SwatheError(
            f"{url}: no Prefect server answers there ({error}). Start it, or unset PREFECT_API_URL to run without one"
        ) from error
