"""Events for automations: sent at once and one by one, because one that is only queued dies with the process."""

from __future__ import annotations

import httpx
from prefect.client.orchestration import get_client
from prefect.events import Event

# What can go wrong between here and the server.
SENDING = (httpx.HTTPError, OSError, RuntimeError, ValueError)


def send(event: Event) -> None:
    """Bring the Prefect server an event; the same id is taken once.

    Raises:
        httpx.HTTPError: When the server does not take it, or is not there; the others of ``SENDING`` likewise.
    """
    with get_client(sync_client=True) as client:
        client.request("POST", "/events", json=[event.model_dump(mode="json")]).raise_for_status()
