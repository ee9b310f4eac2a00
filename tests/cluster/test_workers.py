"""Workers of a running cluster: checked before they get work, also those that come while a run is under way."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from arrays import array_scene, fake_work, read_mask
from deadly import begun_pid, slow_pid

from flows.cluster import engine as engines
from flows.cluster.engine import ClusterSettings, open_engine
from flows.cluster.environment import Shared, asked, decisive_packages, differences, own_report, question
from flows.cluster.probe import was_replaced
from tasks.errors import ClusterError
from tasks.segment.graph import PlainEngine

TILING = {"tile": 64, "halo": 0, "overlap": 0, "block": 512}
DASK = [sys.executable, "-m", "dask"]
HERE = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0", "--no-dashboard"]
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}


class Cluster:
    """A scheduler and workers as processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen] = []
        file = folder / "scheduler.json"
        self._start("scheduler", "--port", "0", "--scheduler-file", str(file), *HERE)
        wait_for(file.exists)
        wait_for(lambda: "tcp://" in file.read_text())
        self.address = re.search(r"tcp://[\d.:]+", file.read_text())[0]

    def worker(self, name: str, path: Path | None = None) -> subprocess.Popen:
        """Start a worker; ``path`` comes before everything else that Python would find."""
        options = ["--nthreads", "3", "--resources", "CPU=1", "--memory-limit", "0", "--no-nanny", *HERE]
        options += ["--name", name, "--local-directory", str(self.folder)]
        return self._start("worker", self.address, *options, first=path)

    def stop(self) -> None:
        for process in reversed(self.processes):
            if process.poll() is None:
                process.kill()
            process.wait()

    def _start(self, *arguments: str, first: Path | None = None) -> subprocess.Popen:
        # What is submitted here names builders of the tests.
        path = os.pathsep.join(
            map(str, filter(None, (first, Path(__file__).parents[1] / "helpers", os.environ.get("PYTHONPATH"))))
        )
        env = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0", "PYTHONPATH": path}
        # Python finds modules in the working directory before any other.
        process = subprocess.Popen([*DASK, *arguments], env=env, cwd=self.folder, **QUIET)
        self.processes.append(process)
        return process


def wait_for(condition, limit_s: float = 60) -> None:
    limit = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        yield cluster
    finally:
        cluster.stop()


def with_other_numpy(folder: Path) -> Path:
    """Return a folder that makes Python believe in another version of numpy."""
    about = folder / "numpy-0.0.1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.0.1\n")
    return folder


def without_tasks(folder: Path) -> Path:
    """Return a folder that keeps Python from finding swathe's tasks."""
    folder.mkdir()
    (folder / "tasks.py").write_text("raise ImportError('no tasks here')\n")
    return folder


def names(engine) -> set[str]:
    workers = engine.slots._workers()
    return {workers[address]["name"] for address in list(engine.slots._checked) if address in workers}


def slow_work(folder: Path, rows: int):
    image = np.random.default_rng(1).random((1, rows, 100)).astype(np.float32)
    return fake_work(array_scene(folder, image), folder / "store", "threshold", tiling=TILING, threshold=0.5)


def test_workers_are_checked_and_come_and_go(cluster, tmp_path, caplog):
    first = cluster.worker("first")
    cluster.worker("other-numpy", with_other_numpy(tmp_path / "other"))
    cluster.worker("no-tasks", without_tasks(tmp_path / "none"))
    out = tmp_path / "out" / ".swathe"
    out.mkdir(parents=True)
    (out / "seen").write_text("token")
    shared = Shared({"the model": str(tmp_path)}, str(out / "seen"), "token")
    settings = ClusterSettings(address=cluster.address, preload=("tasks.segment.block",), shared=shared)
    wait_for_workers(cluster, 3)
    with open_engine(settings) as engine:
        assert names(engine) == {"first"}
        assert engine.n_slots == 1
        assert re.search(r"other-numpy on .*numpy 0.0.1 there, .* here.*constraints.txt", caplog.text)
        assert re.search(r"no-tasks on .*(another state of swathe's code|cannot import tasks)", caplog.text)

        work = slow_work(tmp_path / "a", 8 * 512)
        reports = engine.run_blocks(work, work.plan.blocks(work.scene.frame))
        next(reports)
        second = cluster.worker("second")
        wait_for(lambda: names(engine) == {"first", "second"})
        assert engine.n_slots == 2
        futures = [engine._submit(partial(slow_pid, 0.2), {"CPU": 1}) for _ in range(12)]
        assert {future.result() for future in futures} == {first.pid, second.pid}
        assert len(list(reports)) == 7

        (begun := tmp_path / "begun").mkdir()
        futures = [engine._submit(partial(begun_pid, begun, 1.0), {"CPU": 1}) for _ in range(2)]
        wait_for(lambda: {path.name for path in begun.iterdir()} == {str(first.pid), str(second.pid)})
        first.send_signal(signal.SIGTERM)
        # Dask would blame what a worker was in the middle of.
        assert {future.result() for future in futures} == {second.pid}
        work_again = slow_work(tmp_path / "b", 4 * 512)
        assert len(list(engine.run_blocks(work_again, work_again.plan.blocks(work_again.scene.frame)))) == 4
        wait_for(lambda: names(engine) == {"second"})
    assert not list(out.glob("seen.*")), "what workers wrote to try it is gone"
    expected = slow_work(tmp_path / "plain", 8 * 512)
    list(PlainEngine().run_blocks(expected, expected.plan.blocks(expected.scene.frame)))
    np.testing.assert_array_equal(read_mask(work), read_mask(expected))


def test_what_waits_for_the_last_worker_runs_on_the_next(cluster, tmp_path):
    with open_engine(ClusterSettings(address=cluster.address)) as engine:
        assert names(engine) == {"second"}
        cluster.processes[-1].send_signal(signal.SIGTERM)
        cluster.processes[-1].wait(30)
        wait_for(lambda: not names(engine))
        future = engine._submit(os.getpid, {"CPU": 1})
        third = cluster.worker("third")
        assert future.result(timeout=60) == third.pid


def test_paths_that_no_worker_sees_are_named(cluster, tmp_path):
    shared = Shared({"'post' of scene a, /nowhere/a.tif": "/nowhere/a.tif"}, str(tmp_path / "gone" / "seen"), "token")
    with (
        pytest.raises(ClusterError, match=r"third on .*cannot see 'post' of scene a.*cannot use OUT.*Mount it there"),
        open_engine(ClusterSettings(address=cluster.address, shared=shared)),
    ):
        pytest.fail("no worker can take blocks")


def test_a_run_that_all_workers_left_for_good_ends_with_the_reason(cluster, monkeypatch):
    monkeypatch.setattr("flows.cluster.roster.PATIENCE_S", 1.0)
    with open_engine(ClusterSettings(address=cluster.address)) as engine:
        cluster.processes[-1].kill()
        wait_for(lambda: not names(engine))
        with pytest.raises(ClusterError, match=r"(?s)no worker that may take blocks.*worker .*other-numpy"):
            engine.call_on_slot(os.getpid)


def test_a_lost_scheduler_is_named(tmp_path):
    cluster = Cluster(tmp_path)
    cluster.worker("one")
    try:
        wait_for_workers(cluster, 1)
        with open_engine(ClusterSettings(address=cluster.address)) as engine:
            future = engine._submit(time.sleep, {"CPU": 2})
            cluster.processes[0].kill()
            with pytest.raises(ClusterError, match="connection to the Dask scheduler was lost"):
                engine._result(future)
    finally:
        cluster.stop()


def wait_for_workers(cluster: Cluster, n: int) -> None:
    from distributed import Client

    with Client(cluster.address, set_as_default=False) as client:
        client.wait_for_workers(n, timeout=60)


def test_the_check_answers_alike_as_text_and_here():
    here = own_report()
    answer = eval(asked(question((), Shared())))
    assert answer["packages"] == here.packages
    assert answer["code"] == here.code
    assert differences(here, here) is None
    assert {"torch", "numpy", "rasterio", "zarr", "distributed", "swathe"} <= set(decisive_packages())
    assert "prefect" not in decisive_packages()
    shadowed = replace(here, code="0123456789ab", folders=("/home/me/stack",))
    assert "0123456789ab from /home/me/stack; " in differences(here, shadowed)
    assert "swathe was replaced there" in differences(here, replace(here, replaced=True))


def test_code_that_was_replaced_under_a_running_process_is_noticed(tmp_path, monkeypatch):
    (tmp_path / "renewed").mkdir()
    (tmp_path / "renewed" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert was_replaced(["renewed"], time.time() - 60)
    assert not was_replaced(["renewed"], time.time() + 60)


class _Slow:
    """A cluster that does not end in the time that Dask gives it."""

    def __init__(self, pid: int) -> None:
        self.workers = {"worker-0": SimpleNamespace(pid=pid, status=None)}

    def __enter__(self) -> _Slow:
        return self

    def __exit__(self, *_: object) -> None:
        raise TimeoutError


def test_a_cluster_that_does_not_end_in_time_is_ended_and_fails_nothing():
    with subprocess.Popen(["sleep", "60"]) as worker:
        with engines._closed(_Slow(worker.pid)):
            pass
        assert worker.wait() == -signal.SIGKILL
    with subprocess.Popen(["sleep", "60"]) as worker:
        with pytest.raises(ValueError, match="its own"), engines._closed(_Slow(worker.pid)):
            raise ValueError("its own")
        assert worker.wait() == -signal.SIGKILL
