"""What waits for a folder that another run holds, and what that run did of it meanwhile."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tasks.files.durable import replace_file
from tasks.inputs.input import Input
from tasks.out.folder import open_for_writers
from tasks.out.outcome import SceneOutcome


@dataclass(frozen=True)
class Ticket:
    """Scenes that a run offers to the one that holds their folder.

    Attributes:
        id: Letters and digits.
        request: Hash of job, model and settings: only a run with the same may do them.
        items: The scenes, in the order in which they are wanted.
    """

    id: str
    request: str
    items: tuple[Input, ...]


@dataclass(frozen=True)
class Tickets:
    """The tickets of one folder: a file each, which its owner keeps locked, so that one without an owner is known.

    Attributes:
        folder: Of the files.
    """

    folder: Path

    @contextmanager
    def offered(self, ticket: Ticket) -> Iterator[None]:
        """Offer scenes for as long as the context lasts; the offer dies with its process.

        Raises:
            OSError: When there is no room for the ticket.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path, part = self._path(ticket.id), self.folder / f".{ticket.id}.part"
        descriptor = open_for_writers(part)
        try:
            # Locked before it is seen: nobody shall take it for one whose owner is gone.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # All of it, or an error: a disk that fills up may take a part of what os.write is given.
            with open(descriptor, "wb", closefd=False) as file:
                file.write(json.dumps(asdict(ticket)).encode())
            part.replace(path)
            yield
        finally:
            part.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            self._answers(ticket.id).unlink(missing_ok=True)
            os.close(descriptor)

    def waiting(self) -> list[Ticket]:
        """Return the tickets whose owners still wait, the oldest first; those of dead owners are cleared away."""
        found = []
        for path in self.folder.glob("*.json"):
            try:
                age, text = path.stat().st_mtime_ns, _owned_text(path)
            except FileNotFoundError:
                continue
            if text is None:
                path.unlink(missing_ok=True)
                self._answers(path.stem).unlink(missing_ok=True)
            else:
                found.append((age, _ticket(json.loads(text))))
        return [ticket for _, ticket in sorted(found, key=lambda one: (one[0], one[1].id))]

    def answer(self, ticket_id: str, outcomes: Mapping[str, SceneOutcome]) -> None:
        """Tell a ticket's owner how its scenes ended, as far as they have.

        Args:
            ticket_id: Of the ticket.
            outcomes: By scene.
        """
        # An owner that has gone meanwhile wants no answer, and nobody would clear it away.
        if self._path(ticket_id).exists():
            rows = [asdict(outcome) for outcome in outcomes.values()]
            replace_file(self._answers(ticket_id), json.dumps(rows).encode())

    def answers(self, ticket_id: str) -> dict[str, SceneOutcome]:
        """Return what is known of a ticket's scenes."""
        try:
            rows = json.loads(self._answers(ticket_id).read_text())
        except FileNotFoundError:
            return {}
        return {row["scene"]: SceneOutcome.from_json(row) for row in rows}

    def _path(self, ticket_id: str) -> Path:
        return self.folder / f"{ticket_id}.json"

    def _answers(self, ticket_id: str) -> Path:
        return self.folder / f"{ticket_id}.answers"


def _owned_text(path: Path) -> str | None:
    """Return a ticket's text; None where nobody holds its lock any more."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        with os.fdopen(os.dup(descriptor)) as file:
            return file.read()
    finally:
        os.close(descriptor)
    return None


def _ticket(fields: dict[str, object]) -> Ticket:
    items = fields["items"]
    found = tuple(Input.from_facts(item) for item in items) if isinstance(items, list) else ()
    return Ticket(str(fields["id"]), str(fields["request"]), found)
