"""Errors that nobody foresaw: where they came from goes into a file, and not onto a terminal."""

from __future__ import annotations

import os
import platform
import traceback
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def keep_traceback(error: Exception, folder: Path) -> Path | None:
    """Write where an error came from into a file that its owner alone may read: it may name files of patients.

    Args:
        error: That nobody foresaw.
        folder: Where to; made where it is not there.

    Returns:
        The file; None where it could not be written.
    """
    where = f"swathe {version('swathe')}, Python {platform.python_version()}, {platform.platform()}"
    path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.txt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(f"{where}\n{''.join(traceback.format_exception(error))}")
    except OSError:
        return None
    return path
