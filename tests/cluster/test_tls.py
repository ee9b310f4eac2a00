"""Between scheduler, workers and clients with certificates: the same bytes, and nobody else comes in."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dask
import numpy as np
import pytest
import yaml
from arrays import array_scene, fake_work, read_mask
from ports import free_port

from flows.cluster.engine import ClusterSettings, open_engine
from tasks.errors import ClusterError
from tasks.segment.graph import PlainEngine

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "clusters" / "certificates.sh"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificates")
    subprocess.run([SCRIPT, folder], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def address(certificates, tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("cluster")
    address = f"tls://127.0.0.1:{free_port()}"
    path = os.pathsep.join(filter(None, (str(Path(__file__).parents[1] / "helpers"), os.environ.get("PYTHONPATH"))))
    env = {**os.environ, "DASK_CONFIG": str(certificates / "dask.yaml"), "PYTHONPATH": path}
    run = {"env": env, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    python = [sys.executable, "-m", "dask"]
    port = address.rsplit(":", 1)[1]
    here = ["--host", "127.0.0.1", "--protocol", "tls", "--dashboard-address", "127.0.0.1:0", "--no-dashboard"]
    scheduler = [*python, "scheduler", "--port", port, *here]
    worker = [*python, "worker", address, "--nthreads", "3", "--resources", "CPU=1", "--memory-limit", "0", *here]
    processes = [
        subprocess.Popen(scheduler, **run),
        subprocess.Popen([*worker, "--no-nanny"], **run),
    ]
    try:
        yield address
    finally:
        for process in reversed(processes):
            process.send_signal(signal.SIGKILL)
            process.wait()


def settings_of(folder: Path) -> dict:
    return dask.config.merge(dask.config.config, yaml.safe_load((folder / "dask.yaml").read_text()))


def connected(address: str):
    """Open an engine as soon as the worker is there."""
    limit = time.monotonic() + 60
    while True:
        engine = open_engine(ClusterSettings(address=address))
        try:
            return engine, engine.__enter__()
        except ClusterError:
            assert time.monotonic() < limit
            time.sleep(0.2)


def test_a_run_with_certificates_makes_the_same_bytes(address, certificates, tmp_path):
    image = np.random.default_rng(1).random((1, 3 * 512, 80)).astype(np.float32)
    tiling = {"tile": 64, "halo": 0, "overlap": 0, "block": 512}
    work, plain = (
        fake_work(
            array_scene(tmp_path / name, image), tmp_path / name / "store", "threshold", tiling=tiling, threshold=0.5
        )
        for name in ("tls", "plain")
    )
    with dask.config.set(settings_of(certificates)):
        context, engine = connected(address)
        assert engine.client.scheduler.address == address
        assert len(list(engine.run_blocks(work, work.plan.blocks(work.scene.frame)))) == 3
        context.__exit__(None, None, None)
    list(PlainEngine().run_blocks(plain, plain.plan.blocks(plain.scene.frame)))
    np.testing.assert_array_equal(read_mask(work), read_mask(plain))


def test_a_client_without_a_certificate_is_refused(address):
    with (
        pytest.raises(ClusterError, match=r"cannot be reached without certificates.*distributed\.comm\.tls"),
        open_engine(ClusterSettings(address=address)),
    ):
        pytest.fail("it came in")


def test_a_client_with_a_certificate_of_another_authority_is_refused(address, certificates, tmp_path):
    subprocess.run([SCRIPT, tmp_path], check=True, capture_output=True)
    with (
        dask.config.set(settings_of(tmp_path)),
        pytest.raises(ClusterError, match="no Dask scheduler answers there"),
        open_engine(ClusterSettings(address=address)),
    ):
        pytest.fail("it came in")


def test_a_cluster_of_ones_own_has_its_own_certificate(certificates):
    with (
        dask.config.set(settings_of(certificates)),
        open_engine(ClusterSettings(workers=1, device="cpu")) as engine,
    ):
        assert engine.call(os.getpid) != os.getpid()
        own = engine.client.scheduler.address
        assert own.startswith("tls://127.0.0.1:")
        with (
            pytest.raises(ClusterError, match="no Dask scheduler answers there"),
            open_engine(ClusterSettings(address=own)),
        ):
            pytest.fail("another authority's certificate was let in")
