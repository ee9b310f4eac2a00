"""Runs that a dead process left "Running" are closed by the next run on the same folder, and no others."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from uuid import uuid4

import psutil
import pytest

from tasks.out.folder import OutFolder
from tasks.out.process_ledger import ProcessLedger, RunProcess, created


def dead(flow_run: str) -> RunProcess:
    """A process that ended before it could say so."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        began = created(process.pid)
    return replace(RunProcess.of_this(flow_run), pid=process.pid, created=began)


def test_a_process_is_known_by_machine_number_and_age(tmp_path):
    own = RunProcess.of_this("a")
    assert own.runs_here
    assert not dead("a").runs_here
    assert not replace(own, created=f"{own.created}0").runs_here, "an earlier process of the same number"
    assert not replace(own, host=f"not-{own.host}").runs_here
    ledger = ProcessLedger(tmp_path / "state.sqlite")
    for process in (own, dead("b"), replace(own, pid=1)):
        ledger.enter(process)
    assert [process.flow_run for process in ledger.entered()] == ["b", "a"], "the newest word on each run"
    ledger.leave("a")
    assert [process.flow_run for process in ledger.entered()] == ["b"]


def test_a_clock_that_is_set_changes_no_process(monkeypatch):
    own, seconds = RunProcess.of_this("a"), psutil.Process().create_time()
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: seconds + 60)
    assert own.runs_here
    assert RunProcess.of_this("a") == own


def test_where_the_kernel_does_not_tell_a_process_is_known_by_seconds(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.out.process_ledger._PROC", tmp_path)
    own = RunProcess.of_this("a")
    assert own.created == psutil.Process().create_time()
    assert own.runs_here
    assert not dead("b").runs_here


def test_a_program_may_have_any_name(tmp_path):
    program = tmp_path / "a) 9 (b"
    program.symlink_to(shutil.which("sleep"))
    with subprocess.Popen([program, "600"]) as process:
        began = created(process.pid)
        seconds = psutil.Process(process.pid).create_time()
        process.kill()
    ticks = int(str(began).split()[-1])
    assert psutil.boot_time() + ticks / os.sysconf("SC_CLK_TCK") == pytest.approx(seconds, abs=1)


def test_rows_of_earlier_versions_are_read_by_the_rule_of_their_time(tmp_path):
    ledger, seconds = ProcessLedger(tmp_path / "state.sqlite"), psutil.Process().create_time()
    columns = "flow_run TEXT PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, created REAL NOT NULL"
    own = RunProcess.of_this("new")
    with closing(sqlite3.connect(ledger.path)) as connection, connection:
        connection.execute(f"CREATE TABLE processes ({columns})")
        rows = [("alive", own.host, own.pid, seconds), ("dead", own.host, own.pid, seconds - 60)]
        connection.executemany("INSERT INTO processes VALUES (?, ?, ?, ?)", rows)
    ledger.enter(own)
    found = {process.flow_run: process for process in ledger.entered()}
    assert {name: process.runs_here for name, process in found.items()} == {"alive": True, "dead": False, "new": True}
    assert found["new"] == own


@pytest.mark.usefixtures("prefect_server")
def test_the_next_run_closes_what_dead_processes_left_running(tmp_path):
    from prefect import flow, task
    from prefect.client.orchestration import get_client
    from prefect.states import Completed, Running

    from flows.server.ghosts import known_process

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
