"""Events for automations: sent at once and one by one, because one that is only queued dies with the process."""

from __future__ import annotations

import httpx
from prefect.client.orchestration import get_client
from prefect.events import Event, Resource

from flows.orchestration.orchestrator import RunEvent, UnsentEventError


def send(event: RunEvent) -> None:
    """Bring the Prefect server an event; the same id is taken once.

    Raises:
        UnsentEventError: When the server does not take it, or is not there.
    """
    labels = {"prefect.resource.id": event.resource, "prefect.resource.name": event.title, **event.labels}
    told = Event(event=event.name, resource=Resource.model_validate(labels), payload=dict(event.payload), id=event.id)
    try:
        with get_client(sync_client=True) as client:
            client.request("POST", "/events", json=[told.model_dump(mode="json")]).raise_for_status()
    except (httpx.HTTPError, OSError, RuntimeError, ValueError) as error:
        raise UnsentEventError(f"{event.name} could not be sent: {error}") from error
