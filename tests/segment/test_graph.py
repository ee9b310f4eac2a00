"""What a worker that dies costs: its own scene where a block is to blame, and nothing else."""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from arrays import array_scene, fake_work, read_mask
from deadly import DeadlyScene, held, is_alive

from flows.cluster.engine import ClusterSettings, open_engine
from tasks.errors import SceneError
from tasks.segment.graph import PlainEngine

TILING = {"tile": 64, "halo": 0, "overlap": 0, "block": 512}
ROWS = 4 * 512


def deadly_work(folder: Path, once: bool):
    image = np.random.default_rng(1).random((1, ROWS, 100)).astype(np.float32)
    plain = array_scene(folder, image)
    scene = DeadlyScene("deadly", plain.folder, plain.frame, plain.n_channels, deadly=700, once=once)
    return fake_work(scene, folder / "store", "threshold", tiling=TILING, threshold=0.5)


def innocent_work(folder: Path):
    image = np.random.default_rng(2).random((1, ROWS, 100)).astype(np.float32)
    return fake_work(array_scene(folder, image), folder / "store", "threshold", tiling=TILING, threshold=0.5)


def run(engine, work) -> int:
    return len(list(engine.run_blocks(work, work.plan.blocks(work.scene.frame))))


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def engine(request):
    with open_engine(ClusterSettings(workers=request.param, device="cpu")) as engine:
        yield engine


def test_a_block_that_kills_its_worker_costs_its_own_scene_by_name(engine, tmp_path):
    deadly, innocent = deadly_work(tmp_path / "deadly", once=False), innocent_work(tmp_path / "innocent")
    with ThreadPoolExecutor(3) as pool:
        blamed = pool.submit(run, engine, deadly)
        spared = pool.submit(run, engine, innocent)
        called = [pool.submit(engine.call, is_alive) for _ in range(5)]
        assert spared.result(timeout=120) == 4
        assert all(future.result(timeout=120) for future in called)
        with pytest.raises(SceneError, match=r"block at \(512, 0\) takes its worker down, alone as well"):
            blamed.result(timeout=120)
    assert engine.call_on_slot(is_alive) > 0, "the cluster goes on"
    expected = innocent_work(tmp_path / "plain")
    run(PlainEngine(), expected)
    np.testing.assert_array_equal(read_mask(innocent), read_mask(expected))


def test_what_runs_alone_does_not_wait_for_blocks_that_their_scene_took_back(engine, tmp_path):
    gate = tmp_path / "gate"
    busy = [engine._submit(partial(held, gate), {}) for _ in range(2)]
    with ThreadPoolExecutor(1) as pool:
        alone = pool.submit(engine._run_alone, is_alive, {})
        while not engine._gate.locked():
            time.sleep(0.01)
        engine.client.cancel(busy, force=True)
        # They cannot have ended: nothing opens the gate before.
        assert alone.result(timeout=120) > 0
    gate.touch()


def test_blocks_lost_with_a_worker_are_run_again(engine, tmp_path):
    work = deadly_work(tmp_path, once=True)
    assert run(engine, work) == 4
    assert (tmp_path / "died").exists()
    np.testing.assert_array_equal(read_mask(work), np.load(tmp_path / "image.npy")[0] > 0.5)
