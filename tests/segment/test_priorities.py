"""Urgent work goes before routine work on the same slots, and a run that is stopped waits for nothing."""

import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import partial

import pytest

from flows.cluster.engine import ClusterSettings, open_engine
from tasks.segment.graph import URGENT


@pytest.fixture
def engine():
    with open_engine(ClusterSettings(workers=1, device="cpu")) as engine:
        yield engine


def test_urgent_work_overtakes_what_waits_for_the_same_slot(engine):
    slot = {engine.resource: 1}
    engine._submit(partial(time.sleep, 2), slot)
    routine = [engine._submit(time.time, slot) for _ in range(5)]
    urgent = [engine.at(URGENT)._submit(time.time, slot) for _ in range(3)]
    assert max(future.result() for future in urgent) < min(future.result() for future in routine)


def test_a_stopped_engine_lets_go_of_whoever_waits_and_takes_nothing_more(engine):
    slot = {engine.resource: 1}
    engine._submit(partial(time.sleep, 60), slot)
    urgent = engine.at(URGENT)
    begin = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(one.call_on_slot, time.time) for one in (engine, urgent)]
        time.sleep(0.5)
        engine.stop()
        for future in waiting:
            with pytest.raises(CancelledError):
                future.result(timeout=30)
    for one in (engine, urgent):
        with pytest.raises(CancelledError, match="stopped"):
            one.call(time.time)
    assert time.monotonic() - begin < 50


def test_the_priority_of_a_run_is_that_of_its_engine():
    with open_engine(ClusterSettings(workers=1, device="cpu", priority=URGENT)) as engine:
        assert engine.priority == URGENT
        assert engine.at(0).priority == 0
