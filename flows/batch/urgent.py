"""Urgent scenes that arrive while a run holds their folder: it does them before its next routine scene."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from flows.batch.following import follow
from flows.batch.line import Line
from flows.batch.triage import triage
from models.errors import SwatheError
from tasks.inputs.input import Input
from tasks.intake.request import Request
from tasks.out.outcome import SceneOutcome
from tasks.out.tickets import Ticket, Tickets

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Arrivals:
    """What others have asked of the run that holds a folder, and what became of it.

    Attributes:
        request: The run's own: only tickets of the same are taken.
        run_id: Of the run.
        items: All scenes of the run by id, those that arrived among them.
        outcomes: Of the scenes that have ended, by id.
    """

    request: Request
    run_id: str
    items: dict[str, Input]
    outcomes: dict[str, SceneOutcome]
    _taken: dict[str, Ticket] = field(default_factory=dict)

    @classmethod
    def of(cls, request: Request, run_id: str, items: Iterable[Input], outcomes: dict[str, SceneOutcome]) -> Arrivals:
        """Begin with a run's own scenes, and the outcomes that it knows already."""
        return cls(request=request, run_id=run_id, items={item.id: item for item in items}, outcomes=dict(outcomes))

    @property
    def _tickets(self) -> Tickets:
        return Tickets(self.request.out.tickets)

    def admit(self, line: Line) -> None:
        """Let urgent scenes into the line, and take out those whose owners have gone."""
        waiting = {ticket.id: ticket for ticket in self._tickets.waiting()}
        self._drop(self._taken.keys() - waiting.keys(), line)
        for ticket in waiting.values():
            if ticket.id not in self._taken and self._can_take(ticket):
                self._take(ticket, line)

    def tell(self, outcome: SceneOutcome) -> None:
        """Enter how a scene ended, and tell those who asked for it."""
        self.outcomes[outcome.scene] = outcome
        for ticket in self._taken.values():
            if any(item.id == outcome.scene for item in ticket.items):
                self._answer(ticket)

    def _can_take(self, ticket: Ticket) -> bool:
        # The same name for something else would supersede what this run makes: its owner does it, after this run.
        return ticket.request == self.request.ticket_key and all(
            self.items.get(item.id, item) == item for item in ticket.items
        )

    def _take(self, ticket: Ticket, line: Line) -> None:
        new = [item for item in ticket.items if item.id not in self.items]
        logger.info("%d urgent scenes arrived, %d of them new here: they go first", len(ticket.items), len(new))
        self._taken[ticket.id] = ticket
        self.items |= {item.id: item for item in new}
        outcomes, fresh = triage(self.request, new, self.run_id) if new else ({}, [])
        self.outcomes |= outcomes
        line.add(replace(scene, urgent=True, ticket=ticket.id) for scene in fresh)
        for item in ticket.items:
            line.hasten(item.id)
        self._answer(ticket)

    def _drop(self, ids: Collection[str], line: Line) -> None:
        gone = [self._taken.pop(ticket_id) for ticket_id in ids]
        heirs = {item.id: ticket.id for ticket in self._taken.values() for item in ticket.items}
        for ticket in gone:
            line.drop(ticket.id, heirs)
            self._forget(ticket, line)

    def _forget(self, ticket: Ticket, line: Line) -> None:
        """What was never begun is no scene of this run any more, and may come again."""
        for item in ticket.items:
            if item.id not in self.outcomes and not line.has_seen(item.id):
                self.items.pop(item.id, None)

    def _answer(self, ticket: Ticket) -> None:
        known = {item.id: self.outcomes[item.id] for item in ticket.items if item.id in self.outcomes}
        try:
            if len(known) == len(ticket.items):
                # Before the last word: whoever waits for it finds everything in place.
                follow(self.request, ticket.items, list(known.values()))
            self._tickets.answer(ticket.id, known)
        except (OSError, SwatheError) as error:
            # It goes on waiting for the folder, and finds there what is done.
            logger.warning("a run that waits could not be told of its urgent scenes: %s", error)
