"""Settings of Prefect that have to be right, from the one file that holds them."""

from __future__ import annotations

import logging
import os
import secrets
import tomllib
from collections.abc import MutableMapping
from contextlib import chdir
from importlib.resources import files
from pathlib import Path

from tasks.files.safe_path import NEUTRAL


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


def load_prefect() -> None:
    """Import Prefect with the settings of the environment and of its own home.

    It would take others from ``.env``, ``prefect.toml`` and ``pyproject.toml`` in the current folder, whoever left them
    there: where runs are told to, and which programs its log calls.
    """
    for name in ("PREFECT_HOME", "PREFECT_PROFILES_PATH"):
        if os.environ.get(name):
            os.environ[name] = str(Path(os.environ[name]).expanduser().absolute())
    with chdir(NEUTRAL):
        # They are read when this is imported.
        import prefect.context  # noqa: F401


def new_password() -> str:
    """Return a user and a password that nobody knows, as Prefect takes them."""
    return f"swathe:{secrets.token_urlsafe(24)}"


def speak() -> None:
    """Let what a run says reach its page: a process that Prefect started hears warnings alone.

    Prefect adds its handler to the loggers that ``PREFECT_LOGGING_EXTRA_LOGGERS`` names, and leaves their levels.
    """
    logger = logging.getLogger("flows")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
