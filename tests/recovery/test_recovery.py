"""A run killed at any moment and started again ends in the same bytes, and redoes only what was in flight."""

import os
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from arrays import array_scene, fake_work, read_mask

from tasks.segment.graph import PlainEngine
from tasks.segment.store import BlockStore

PROGRAM = Path(__file__).parents[1] / "helpers" / "engine_process.py"
MOMENTS = {"plain": 14, "dask": 6}


def make(folder: Path):
    rng = np.random.default_rng(0)
    image = rng.random((2, 3000, 2100)).astype(np.float32)
    scene = array_scene(folder, image, rng.random((3000, 2100)) > 0.05)
    tiling = {"tile": 128, "halo": 8, "overlap": 16, "block": 512}
    return fake_work(scene, folder / "store", "threshold", tiling=tiling, threshold=0.5)


def start(work, folder: Path, engine: str, *held_at: str) -> subprocess.Popen:
    (folder / "work.pickle").write_bytes(pickle.dumps(work))
    environment = os.environ | {"PYTHONPATH": str(PROGRAM.parent)}
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), str(folder / "work.pickle"), engine, *held_at],
        stdout=subprocess.PIPE,
        start_new_session=True,
        env=environment,
    )
    assert process.stdout.readline() == b"begun\n"
    return process


def journal(work) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (work.store / "journal").glob("*.json")}


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    """The mask of a run that nobody killed, and how long each engine takes."""
    seconds = {}
    for engine in MOMENTS:
        folder = tmp_path_factory.mktemp(engine)
        work = make(folder)
        process = start(work, folder, engine)
        begin = time.monotonic()
        assert process.stdout.readline() == b"ended\n"
        seconds[engine] = time.monotonic() - begin
        assert process.wait(timeout=120) == 0
        process.stdout.close()
        mask = np.stack([read_mask(work), read_mask(work, "confidence")])
    return mask, seconds


@pytest.mark.parametrize("engine", MOMENTS)
def test_a_killed_and_restarted_run_ends_in_the_same_bytes(tmp_path, untouched, engine):
    expected, seconds = untouched
    rng = random.Random(engine)
    work = make(tmp_path)
    blocks = work.plan.blocks(work.scene.frame)
    for number in range(MOMENTS[engine]):
        process = start(work, tmp_path, engine, *(["4"] if number == 0 else []))
        if number == 0:
            # At least this one is in the middle of it.
            assert process.stdout.readline() == b"held\n"
        else:
            time.sleep(rng.uniform(0, seconds[engine]))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        before = journal(work)
        committed = BlockStore(work.store).committed(blocks)
        assert len(committed) == len(before), "what the journal holds is whole"
        assert number or 4 <= len(before) < len(blocks)
        # Take some of the work away again, so that every kill meets a run in the middle of it.
        if len(before) == len(blocks):
            for path in list((work.store / "journal").glob("*.json"))[: len(blocks) // 2]:
                path.unlink()
    before = journal(work)
    committed = BlockStore(work.store).committed(blocks)
    reports = list(PlainEngine().run_blocks(work, [block for block in blocks if block not in committed]))
    after = journal(work)
    assert {name: after[name] for name in before} == before, "a committed block is not written again"
    assert len(reports) + len(before) == len(blocks)
    np.testing.assert_array_equal(np.stack([read_mask(work), read_mask(work, "confidence")]), expected)


def test_two_engines_give_the_same_bytes_in_any_order(tmp_path, untouched):
    expected, _ = untouched
    work = make(tmp_path)
    blocks = work.plan.blocks(work.scene.frame)
    random.Random(1).shuffle(blocks)
    list(PlainEngine().run_blocks(work, blocks))
    np.testing.assert_array_equal(np.stack([read_mask(work), read_mask(work, "confidence")]), expected)
