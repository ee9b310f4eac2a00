"""Ports of this machine: which are taken, and which answer."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from models.errors import SwatheError

_HOST = "127.0.0.1"
_TRYING_S = 5.0


class TakenPortError(SwatheError):
    """A port that a service needs cannot be had, as a rule because another program has it."""


def require_free(wanted: Mapping[int, str]) -> None:
    """See that nothing else has the ports that are about to be used.

    Args:
        wanted: Whom each port is for, such as ``the Prefect server``.

    Raises:
        TakenPortError: When one cannot be had.
    """
    for port, owner in wanted.items():
        try:
            _try(port)
        except OSError as error:
            raise TakenPortError(
                f"port {port} of {_HOST} cannot be had for {owner} ({error.strerror}); nothing was started. Stop the "
                "program that has it (where an earlier one of ours was left behind: swathe down), or choose another "
                f"one: swathe up --port {min(max(wanted) + 99, 65534)}, which the Prefect server then has, and the "
                "Dask scheduler the next one"
            ) from error


def _try(port: int) -> None:
    with socket.socket() as probe:
        # As servers do: what an ended one leaves behind for a minute is in nobody's way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((_HOST, port))


def listens(port: int) -> bool:
    """Tell whether something answers at a port."""
    try:
        socket.create_connection((_HOST, port), _TRYING_S).close()
    except OSError:
        return False
    return True
