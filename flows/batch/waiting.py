"""Waiting for a folder that another run holds, and letting that run do what is urgent."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack

from flows.display.progress import Pace
from flows.orchestration.current import orchestrator
from tasks.errors import HeldFolderError
from tasks.inputs.input import Input
from tasks.intake.request import Request
from tasks.out.outcome import SceneOutcome
from tasks.out.tickets import Ticket, Tickets

logger = logging.getLogger(__name__)

_LOOKING_S = 1.0
_SAYING_S = 60.0


def take(request: Request, held: ExitStack) -> bool:
    """Take the folder where it is free.

    Args:
        request: Names the folder.
        held: Gets the lock.
    """
    try:
        held.enter_context(request.out.locked())
    except HeldFolderError:
        return False
    return True


def wait_for_folder(
    request: Request, wait_hours: float, offered: Sequence[Input], held: ExitStack
) -> list[SceneOutcome] | None:
    """Wait until the folder is free, or until the run that holds it has done what this one offers.

    Args:
        request: Names the folder.
        wait_hours: At most.
        offered: Scenes that the run that holds the folder may do meanwhile; none where empty.
        held: Gets the lock.

    Returns:
        What the other run made of all that was offered; None where the folder is held now.

    Raises:
        HeldFolderError: When it took too long.
    """
    ticket = Ticket(uuid.uuid4().hex, request.ticket_key, tuple(offered))
    with ExitStack() as offer:
        if offered:
            _offer(Tickets(request.out.tickets), ticket, offer)
        return _wait(request, wait_hours, ticket, held)


def _offer(tickets: Tickets, ticket: Ticket, offer: ExitStack) -> None:
    try:
        offer.enter_context(tickets.offered(ticket))
    except OSError as error:
        # A disk that the other run has filled, as a rule: this one can wait all the same.
        logger.warning("the scenes cannot be offered to the run that holds the folder, and wait for it: %s", error)


def _wait(request: Request, wait_hours: float, ticket: Ticket, held: ExitStack) -> list[SceneOutcome] | None:
    tickets = Tickets(request.out.tickets)
    told = orchestrator().counter("Scenes done by the run that holds the folder")
    folder, begun, saying, known = request.out.root.name, time.monotonic(), Pace(_SAYING_S), 0
    logger.info("%s: another run is writing here; this one waits, for %g h at most", folder, wait_hours)
    while not take(request, held):
        answers = tickets.answers(ticket.id)
        if ticket.items and len(answers) == len(ticket.items):
            return [answers[item.id] for item in ticket.items]
        if len(answers) > known:
            known = len(answers)
            told.tell(known, len(ticket.items))
        waited_s = time.monotonic() - begun
        if waited_s > wait_hours * 3600:
            raise HeldFolderError(
                f"{request.out.root}: another run has been writing here for {wait_hours:g} h. Start this one again "
                "when it has ended, or with a longer wait, or name another folder"
            )
        if saying.is_due():
            logger.info("%s: waiting for %.0f min so far", folder, waited_s / 60)
        time.sleep(_LOOKING_S)
    return None
