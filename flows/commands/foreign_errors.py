"""Errors of libraries that users meet, as errors of our own that say what to do."""

from __future__ import annotations

import os

import httpx
from pydantic import ValidationError

from flows.commands.options import OptionError
from models.errors import SwatheError
from models.validation import explained

# What command lines are made into, by the names of their classes: those bring Prefect, which takes seconds.
_ORDERS = ("Batch", "Submission", "Nightly")
_OPTIONS = {"overrides": "--set", "inputs": "INPUT"}

# What a server answers to whoever it does not know.
_NOT_LET_IN = (401, 403)

# What Prefect raises when a flow begins and the server is not there.
_UNREACHABLE = "Failed to reach API at "


def named_error(error: Exception) -> SwatheError | None:
    """Return an error of our own for a foreign one; None where it is none that users can do something about."""
    if isinstance(error, ValidationError) and _concerns_options(error):
        return _option_error(error)
    if isinstance(error, httpx.HTTPStatusError) and error.response.status_code in _NOT_LET_IN:
        return SwatheError(
            f"{_server()}: the Prefect server asks for another user or password. Give them as USER:PASSWORD in "
            "PREFECT_API_AUTH_STRING"
        )
    if isinstance(error, httpx.TransportError) or str(error).startswith(_UNREACHABLE):
        return SwatheError(
            f"{_server()}: the Prefect server went away ({error}). What is done is kept: run again when it is back"
        )
    return None


def _server() -> str:
    return os.environ.get("PREFECT_API_URL", "Prefect's own server")


def _concerns_options(error: ValidationError) -> bool:
    """Tell whether it is about what a command line was made into."""
    return error.title in _ORDERS


def _option_error(error: ValidationError) -> OptionError:
    """Return what is wrong with a command line."""
    text = explained(error)
    for field in {str(item["loc"][0]) for item in error.errors() if item["loc"]}:
        text = text.replace(f"'{field}'", _OPTIONS.get(field, f"--{field.replace('_', '-')}"))
    return OptionError(text)
