"""Runs that tell of a patient's scenes go from a Prefect server, with all that it keeps of them, and no others."""

from __future__ import annotations

import time

import pytest
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

from flows.server.forgetting import forget_runs

LIMIT_S = 60


@task(task_run_name="plan · {scene}")
def plan(scene: str) -> None:
    create_markdown_artifact(f"the volume of {scene}")


@flow
def by_step(parts: list[str]) -> None:
    plan("".join(parts))


@flow
def by_log(parts: list[str]) -> None:
    # Of less nothing is sent in tests.
    get_run_logger().warning("%s: refused", "".join(parts))


@pytest.mark.parametrize("told", [by_step, by_log])
def test_a_run_goes_with_its_logs_and_artifacts(prefect_server, told):
    name = told.name.replace("_", "").replace("-", "")
    gone, kept = f"ct-{name}0001", f"ct-{name}0002"
    # In parts: parameters are not to tell of them.
    states = {scene: told([scene[:6], scene[6:]], return_state=True) for scene in (gone, kept)}
    ids = {scene: state.state_details.flow_run_id for scene, state in states.items()}
    with get_client(sync_client=True) as client:
        of_gone = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[ids[gone]]))
        deadline = time.monotonic() + LIMIT_S
        # They are sent behind the run's back.
        while told is by_log and not client.read_logs(of_gone):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert forget_runs([gone]) == 1
        while client.read_logs(of_gone):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        runs = {run.id for run in client.read_flow_runs()}
        artifacts = [str(artifact.data) for artifact in client.read_artifacts()]
    assert ids[gone] not in runs
    assert ids[kept] in runs
    assert not any(gone in data for data in artifacts)
    assert any(kept in data for data in artifacts) == (told is by_step)
