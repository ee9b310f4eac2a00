"""Runs that a dead process left "Running" are closed by the next run on the same folder, and no others."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from uuid import uuid4

import psutil
import pytest

from tasks.outfolder import OutFolder
from tasks.processes import ProcessLedger, RunProcess


def dead(flow_run: str) -> RunProcess:
    """A process that ended before it could say so."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        created = psutil.Process(process.pid).create_time()
    return replace(RunProcess.of_this(flow_run), pid=process.pid, created=created)


def test_a_process_is_known_by_machine_number_and_age(tmp_path):
    own = RunProcess.of_this("a")
    assert own.runs_here
    assert not dead("a").runs_here
    assert not replace(own, created=own.created - 60).runs_here, "an earlier process of the same number"
    assert not replace(own, host=f"not-{own.host}").runs_here
    ledger = ProcessLedger(tmp_path / "state.sqlite")
    for process in (own, dead("b"), replace(own, pid=1)):
        ledger.enter(process)
    assert [process.flow_run for process in ledger.entered()] == ["b", "a"], "the newest word on each run"
    ledger.leave("a")
    assert [process.flow_run for process in ledger.entered()] == ["b"]


@pytest.mark.usefixtures("prefect_server")
def test_the_next_run_closes_what_dead_processes_left_running(tmp_path):
    from prefect import flow, task
    from prefect.client.orchestration import get_client
    from prefect.states import Completed, Running

    from flows.ghosts import known_process

    out = OutFolder(tmp_path)
    out.root.mkdir(exist_ok=True)
    ledger = ProcessLedger(out.ledger)

    @task
    def step() -> None: ...

    @flow
    def batch() -> list[str]:
        with known_process(out):
            return [process.flow_run for process in ledger.entered()]

    with get_client(sync_client=True) as client:
        left, alive, ended = (client.create_flow_run(batch, state=Running()) for _ in range(3))
        client.set_flow_run_state(ended.id, Completed(), force=True)
        # The server's automation closes a run, and leaves its steps.
        steps = [client.create_task_run(step, run.id, f"{run.id}", state=Running()) for run in (left, ended)]
        for run in (left, ended):
            ledger.enter(dead(str(run.id)))
        ledger.enter(RunProcess.of_this(str(alive.id)))
        ledger.enter(dead(str(uuid4())))
        at_work = batch()
        types = {run.id: client.read_flow_run(run.id).state.type.value for run in (left, alive, ended)}
        assert types == {left.id: "CRASHED", alive.id: "RUNNING", ended.id: "COMPLETED"}
        assert "process" in client.read_flow_run(left.id).state.message
        assert {client.read_task_run(one.id).state.type.value for one in steps} == {"CRASHED"}
    assert len(at_work) == 2, "the one that is alive, and this one itself"
    assert [process.flow_run for process in ledger.entered()] == [str(alive.id)]
