"""Workers that are frozen, or told to end, lose what they have to others; one that is only slow does not."""

import os
import signal
import time
from functools import partial

import pytest
from deadly import begun_pid
from hypothesis import given
from hypothesis import strategies as st

from flows.cluster.engine import ClusterSettings, open_engine
from flows.cluster.pulse import Pulse

SILENT_S = 3.0


@pytest.fixture(scope="module")
def engine():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flows.cluster.pulse._SILENT_S", SILENT_S)
        patch.setattr("flows.cluster.pulse._LOOKING_S", 0.2)
        with open_engine(ClusterSettings(workers=1, device="cpu")) as engine:
            yield engine


def begun(folder) -> int:
    limit = time.monotonic() + 60
    while not (found := list(folder.iterdir())):
        assert time.monotonic() < limit
        time.sleep(0.02)
    return int(found[0].name)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGTERM], ids=["frozen", "told to end"])
def test_what_a_worker_was_in_the_middle_of_runs_again_without_blame(engine, tmp_path, number):
    future = engine._submit(partial(begun_pid, tmp_path, 1.0), {engine.resource: 1})
    pid = begun(tmp_path)
    os.kill(pid, number)
    assert future.result(timeout=120) != pid


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_is_for_the_command_alone_does_not_reach_its_workers(engine, tmp_path, number):
    future = engine._submit(partial(begun_pid, tmp_path, 0.3), {engine.resource: 1})
    pid = begun(tmp_path)
    os.kill(pid, number)
    assert future.result(timeout=120) == pid


def test_a_block_that_lets_no_other_thread_run_is_not_taken_for_a_frozen_worker(engine, tmp_path):
    future = engine._submit(partial(begun_pid, tmp_path, 3 * SILENT_S, holds_all=True), {engine.resource: 1})
    assert future.result(timeout=120) == begun(tmp_path)


@given(st.lists(st.tuples(st.floats(0.1, 4.0), st.booleans()), min_size=1, max_size=40))
def test_a_worker_is_silent_when_nothing_was_heard_of_it_for_long(steps):
    pulse, now, heard, said = Pulse(10.0), 0.0, 0.0, 0.0
    for seconds, speaks in steps:
        now += seconds
        if speaks:
            # By a clock that has nothing to do with ours.
            said, heard = said - 1000.0, now
        elif said == 0.0 and heard == 0.0:
            heard = now
            said = -1.0
        assert pulse.silent({"w": said}, now) == (["w"] if now - heard > 10.0 else [])


def test_silence_does_not_count_while_whoever_listens_stood_still():
    pulse = Pulse(10.0)
    assert pulse.silent({"w": 1.0}, 0.0) == []
    assert pulse.silent({"w": 1.0}, 1000.0) == []
    assert [pulse.silent({"w": 1.0}, 1000.0 + after) for after in (4, 8, 11)] == [[], [], ["w"]]
