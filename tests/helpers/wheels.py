"""Programs that wheels of the environment brought."""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path


def program(package: str, name: str) -> Path:
    """A program that a wheel brought, wherever its environment keeps programs."""
    found = distribution(package)
    file = next(file for file in found.files or () if file.name == name and file.parent.name == "bin")
    return Path(found.locate_file(file)).resolve()
