"""Errors of libraries that users meet, as errors of our own that say what to do."""

from __future__ import annotations

import os

import httpx
from pydantic import ValidationError

from flows.commands.options import concerns_options, option_error
from models.errors import SwatheError

# What Prefect raises when a flow begins and the server is not there.
_UNREACHABLE = "Failed to reach API at "


def named_error(error: Exception) -> SwatheError | None:
    """Return an error of our own for a foreign one; None where it is none that users can do something about."""
    if isinstance(error, ValidationError) and concerns_options(error):
        return option_error(error)
    if isinstance(error, httpx.TransportError) or str(error).startswith(_UNREACHABLE):
        url = os.environ.get("PREFECT_API_URL", "Prefect's own server")
        return SwatheError(
            f"{url}: the Prefect server went away ({error}). What is done is kept: run again when it is back"
        )
    return None
