"""Settings of Prefect that have to be right, from the one file that holds them."""

from __future__ import annotations

import logging
import os
import tomllib
from collections.abc import MutableMapping
from importlib.resources import files


def profile(name: str) -> dict[str, str]:
    """Return the settings of ``client`` or ``server`` as environment variables.

    Nothing that Prefect or its libraries could tell others is told.
    """
    text = files("flows").joinpath("profiles.toml").read_text(encoding="utf-8")
    settings = tomllib.loads(text)
    return {**settings["profiles"][name], **settings["environment"].get(name, {}), "DO_NOT_TRACK": "1"}


def apply_profile(name: str, environment: MutableMapping[str, str] = os.environ) -> None:
    """Set what is not set already. Must come before Prefect is imported."""
    for key, value in profile(name).items():
        environment.setdefault(key, value)


def speak() -> None:
    """Let what a run says reach its page: a process that Prefect started hears warnings alone.

    Prefect adds its handler to the loggers that ``PREFECT_LOGGING_EXTRA_LOGGERS`` names, and leaves their levels.
    """
    logger = logging.getLogger("flows")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
