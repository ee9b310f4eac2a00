"""Runs on a Prefect server that tell of some scenes, deleted from it with their logs, steps and artifacts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from typing import Any, TypeVar

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import PrefectException

from models.errors import SwatheError

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_AT_ONCE = 200


def forget_runs(scenes: Collection[str]) -> int:
    """Delete every run that tells of one of some scenes, whatever else it did.

    Returns:
        How many runs were deleted.

    Raises:
        SwatheError: When the server does not do it, or such a run has not ended.
    """
    with get_client(sync_client=True) as client:
        try:
            told = [run for run in _pages(client.read_flow_runs) if _tells(client, run, scenes)]
            open_ = [run.name for run in told if run.state is None or not run.state.is_final()]
            if open_:
                raise SwatheError(f"{client.api_url}: runs tell of the patient and have not ended. Cancel them first")
            for run in told:
                for artifact in _pages(client.read_artifacts, artifact_filter=_artifacts_of(run)):
                    client.delete_artifact(artifact.id)
                client.delete_flow_run(run.id)
        except (PrefectException, httpx.HTTPError) as error:
            raise SwatheError(f"{client.api_url}: the runs could not be deleted ({error}). Run again") from error
    return len(told)


def _tells(client: SyncPrefectClient, run: FlowRun, scenes: Collection[str]) -> bool:
    return any(scene in text for text in _texts(client, run) for scene in scenes)


def _texts(client: SyncPrefectClient, run: FlowRun) -> Iterator[str]:
    """Yield what the server keeps of a run: what is short first."""
    yield run.model_dump_json()
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
    for task_run in _pages(client.read_task_runs, flow_run_filter=of_run):
        yield task_run.model_dump_json()
    for log in _pages(client.read_logs, log_filter=LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))):
        yield log.message
    for artifact in _pages(client.read_artifacts, artifact_filter=_artifacts_of(run)):
        yield artifact.model_dump_json()


def _artifacts_of(run: FlowRun) -> ArtifactFilter:
    return ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))


def _pages(read: Callable[..., list[_T]], **filters: Any) -> list[_T]:  # noqa: ANN401 - of Prefect's own functions
    """Return everything that a question finds, however many pages it fills."""
    found: list[_T] = []
    while page := read(**filters, limit=_AT_ONCE, offset=len(found)):
        found += page
        if len(page) < _AT_ONCE:
            break
    return found
