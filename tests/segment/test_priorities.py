"""Urgent work goes before routine work on the same slots, and a run that is stopped waits for nothing."""

import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import partial

import pytest
from deadly import held, n_known_tasks

from flows.cluster.engine import ClusterSettings, open_engine
from tasks.segment.graph import URGENT


@pytest.fixture
def engine():
    with open_engine(ClusterSettings(workers=1, device="cpu")) as engine:
        yield engine


def known(engine, n_tasks: int) -> None:
    """Wait until the only worker has been told of so many tasks."""
    while sum(engine.client.run(n_known_tasks).values()) < n_tasks:
        time.sleep(0.01)


def test_urgent_work_overtakes_what_waits_for_the_same_slot(engine, tmp_path):
    slot, gate = {engine.resource: 1}, tmp_path / "gate"
    first = engine._submit(partial(held, gate), slot)
    routine = [engine._submit(time.time, slot) for _ in range(5)]
    urgent = [engine.at(URGENT)._submit(time.time, slot) for _ in range(3)]
    known(engine, 9)
    gate.touch()
    begun = first.result()
    assert begun <= min(future.result() for future in urgent)
    assert max(future.result() for future in urgent) < min(future.result() for future in routine)


def test_a_stopped_engine_lets_go_of_whoever_waits_and_takes_nothing_more(engine, tmp_path):
    slot, gate = {engine.resource: 1}, tmp_path / "gate"
    engine._submit(partial(held, gate), slot)
    urgent = engine.at(URGENT)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(one.call_on_slot, time.time) for one in (engine, urgent)]
        known(engine, 3)
        engine.stop()
        # What holds the slot goes on: nobody waits for it.
        for future in waiting:
            with pytest.raises(CancelledError):
                future.result(timeout=120)
    for one in (engine, urgent):
        with pytest.raises(CancelledError, match="stopped"):
            one.call(time.time)
    gate.touch()


def test_the_priority_of_a_run_is_that_of_its_engine():
    with open_engine(ClusterSettings(workers=1, device="cpu", priority=URGENT)) as engine:
        assert engine.priority == URGENT
        assert engine.at(0).priority == 0
