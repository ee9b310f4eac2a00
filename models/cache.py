"""The folder of what can be made again: measured speeds, converted models."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_folder() -> Path:
    """Return ``SWATHE_CACHE``, else the user's own cache folder; it may not be there yet."""
    folder = os.environ.get("SWATHE_CACHE")
    return Path(folder) if folder else user_cache_path("swathe")
