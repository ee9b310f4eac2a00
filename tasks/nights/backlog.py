"""How many scenes a run has still to do: told while it runs, for whoever watches it."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass

from models.parsed import from_json
from tasks.files.durable import replace_file
from tasks.out.folder import OutFolder

logger = logging.getLogger(__name__)

_FILE = "backlog.json"


@dataclass(frozen=True)
class Backlog:
    """Scenes of a run that have not ended.

    Attributes:
        waiting: That have not begun.
        under_way: That have.
    """

    waiting: int
    under_way: int


def write_backlog(out: OutFolder, backlog: Backlog) -> None:
    """Tell it; the folder is held by the caller."""
    replace_file(out.scratch / _FILE, json.dumps(asdict(backlog)).encode())


def read_backlog(out: OutFolder) -> Backlog | None:
    """Return what the run told last; None where it has told nothing, or nothing that can be read."""
    try:
        told = from_json((out.scratch / _FILE).read_bytes())
        return Backlog(int(told["waiting"]), int(told["under_way"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.debug("%s: tells nothing: %s", out.scratch / _FILE, error)
        return None
