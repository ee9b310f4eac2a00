"""Reading ahead ends before what is read from is closed."""

import time
from contextlib import contextmanager

import numpy as np
import pytest
from arrays import ArrayReader, ArrayScene, array_scene, fake_work

from tasks.segment.blend import SlabBlender
from tasks.segment.block import segment_block
from tasks.segment.prefetch import prefetch


def test_items_come_in_order_and_an_exception_where_it_belongs():
    def items():
        yield from range(1, 4)
        raise ValueError("the fourth")

    ahead = prefetch(items())
    assert [next(ahead) for _ in range(3)] == [1, 2, 3]
    with pytest.raises(ValueError, match="the fourth"):
        next(ahead)


def test_closing_early_closes_what_is_read():
    closed = []

    def items():
        try:
            yield from range(1, 100)
        finally:
            closed.append(True)

    ahead = prefetch(items())
    assert next(ahead) == 1
    ahead.close()
    assert closed == [True]


def test_a_reader_is_not_closed_under_the_thread_that_reads_ahead(tmp_path, monkeypatch):
    busy, closed_while_busy = [], []

    class SlowReader(ArrayReader):
        def read(self, box):
            busy.append(box)
            time.sleep(0.05)
            found = super().read(box)
            busy.remove(box)
            return found

    @contextmanager
    def opened(self):
        try:
            yield SlowReader(np.load(self.folder / "image.npy"), np.load(self.folder / "valid.npy"), self.frame)
        finally:
            closed_while_busy.append(list(busy))

    def fail(*_):
        raise RuntimeError("blending failed")

    work = fake_work(
        array_scene(tmp_path, np.zeros((1, 2000, 64), np.float32)),
        tmp_path / "store",
        "threshold",
        tiling={"tile": 64, "halo": 0, "overlap": 0, "block": 2048},
        threshold=0.5,
    )
    monkeypatch.setattr(ArrayScene, "open", opened)
    monkeypatch.setattr(SlabBlender, "add", fail)
    with pytest.raises(RuntimeError, match="blending failed"):
        segment_block(work, work.plan.blocks(work.scene.frame)[0])
    assert closed_while_busy == [[]]
