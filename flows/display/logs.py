"""What a run says: lines for people, or one JSON object per line for programs."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

from rich.console import Console

from flows.display.told import Told, tell
from models.printable import printable

Style = Literal["plain", "json"]

VARIABLE = "SWATHE_LOG"
PACKAGES = ("flows", "tasks", "models")

_NAME = "swathe"
_FIELDS = ("run", "scene", "stage")
_STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}
_about: ContextVar[dict[str, str] | None] = ContextVar("swathe_log", default=None)


@contextmanager
def about(field: Literal["run", "scene", "stage"], value: str) -> Iterator[None]:
    """Say of every line that is written within the context what it is about."""
    token = _about.set({**(_about.get() or {}), field: value})
    try:
        yield
    finally:
        _about.reset(token)


class JsonFormatter(logging.Formatter):
    """One object per line: time, level, run, scene, stage, message; what is not known is null."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        known = _about.get() or {}
        facts = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            **{field: known.get(field) for field in _FIELDS},
            "message": printable(record.getMessage(), lines=True),
        }
        if record.exc_info:
            facts["error"] = printable(self.formatException(record.exc_info), lines=True)
        return json.dumps(facts, ensure_ascii=False)


class LineHandler(logging.Handler):
    """Lines for people: the time, the level where it is not the usual one, and the message, above the bars."""

    def __init__(self, console: Console) -> None:
        """Write to a console."""
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        level = "" if record.levelno <= logging.INFO else f"{record.levelname}: "
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        tell(self.console, [Told(f"{level}{self.format(record)}", time, _STYLES.get(record.levelname, "cyan"))])


def set_up(console: Console, style: Style | None = None) -> None:
    """Let our own packages speak; what Prefect has to say goes to its UI.

    Args:
        console: Where to.
        style: How; what ``SWATHE_LOG`` says where left out, else plain.
    """
    style = style or asked()
    handler: logging.Handler
    if style == "json":
        handler = logging.StreamHandler(console.file)
        handler.setFormatter(JsonFormatter())
    else:
        handler = LineHandler(console)
    handler.name = _NAME
    for package in PACKAGES:
        logger = logging.getLogger(package)
        logger.setLevel(logging.INFO)
        logger.handlers = [*(known for known in logger.handlers if known.name != _NAME), handler]


def set_up_where_asked() -> None:
    """Write JSON lines in a flow that no command of ours started, where ``SWATHE_LOG`` asks for it."""
    known = [handler.name for handler in logging.getLogger(PACKAGES[0]).handlers]
    if asked() == "json" and _NAME not in known:
        set_up(Console(stderr=True))


def asked() -> Style:
    """Return what ``SWATHE_LOG`` asks for."""
    return "json" if os.environ.get(VARIABLE, "").lower() == "json" else "plain"
