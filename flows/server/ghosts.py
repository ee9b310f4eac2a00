"""Runs that a dead process left "Running" on the Prefect server: closed by the next run on the same folder.

A server that runs `flows/automations.yaml` closes them by itself, within 90 s; this also does where it does not.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.runtime import flow_run
from prefect.states import Crashed

from tasks.out.folder import OutFolder
from tasks.out.process_ledger import ProcessLedger, RunProcess

logger = logging.getLogger(__name__)


@contextmanager
def known_process(out: OutFolder) -> Iterator[None]:
    """Keep which process does this run while it does, and close what earlier ones left open.

    Args:
        out: A folder that this run holds; so no run of a process that died in between can still be at work in it.
    """
    own = flow_run.id
    ledger = ProcessLedger(out.ledger)
    for process in ledger.entered():
        if process.flow_run != own and not process.runs_here and _close(process):
            ledger.leave(process.flow_run)
    if own is None:
        yield
        return
    ledger.enter(RunProcess.of_this(own))
    try:
        yield
    finally:
        ledger.leave(own)


def _close(process: RunProcess) -> bool:
    """Tell the server that a run has crashed, where it still takes it for running; return whether that is settled."""
    message = f"Its process {process.pid} on {process.host} died; the next run on the same folder found out."
    try:
        with get_client(sync_client=True) as client:
            found = client.read_flow_run(UUID(process.flow_run))
            # Also where the server's automation was there first: it closes the run and not its steps.
            for task_run in _open_tasks(client, found.id):
                client.set_task_run_state(task_run, Crashed(message=message), force=True)
            if found.state is not None and not found.state.is_final():
                client.set_flow_run_state(found.id, Crashed(message=message), force=True)
                logger.warning("%s: its process died; the run is closed as crashed", found.name)
    except ObjectNotFound:
        return True
    except (PrefectException, httpx.HTTPError) as error:
        logger.warning("a run whose process died could not be closed, and is tried again by the next one: %s", error)
        return False
    return True


def _open_tasks(client: SyncPrefectClient, run: UUID) -> list[UUID]:
    flow_runs = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
    states = TaskRunFilterState(type=TaskRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING]))
    found = client.read_task_runs(flow_run_filter=flow_runs, task_run_filter=TaskRunFilter(state=states))
    return [task_run.id for task_run in found]
