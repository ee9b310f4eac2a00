"""With these versions a schedule really starts runs, on a server named by ``PREFECT_API_URL``."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from ports import free_port
from scenes import write_raster

JOB = """
job: nightly
kind: raster
model: {name: threshold, arguments: {threshold: 100}}
analysis: {kind: area}
"""
SERVE = """
import sys
from datetime import timedelta
from flows.batch.flow import segment

if __name__ == "__main__":
    scene, job, out = sys.argv[1:]
    batch = {"inputs": [scene], "job": job, "out": out, "workers": 1, "device": "cpu"}
    segment.serve(name="nightly", interval=timedelta(seconds=20), parameters={"batch": batch}, limit=1)
"""


def stop(process: subprocess.Popen) -> None:
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(condition, limit_s: float, what: str) -> None:
    limit = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > limit:
            pytest.fail(f"{what} within {limit_s:.0f} s")
        time.sleep(0.5)


def is_healthy(api: str) -> bool:
    try:
        return httpx.get(f"{api}/health", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def completed_runs(api: str) -> int:
    wanted = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}, "deployment_id": {"is_null_": False}}}
    return int(httpx.post(f"{api}/flow_runs/count", json=wanted, timeout=10).json())


@pytest.mark.timeout(280)
def test_a_schedule_starts_a_run_that_publishes_a_product(tmp_path: Path) -> None:
    scene = write_raster(
        tmp_path / "scene.tif", np.random.default_rng(0).integers(0, 200, (1, 90, 70)).astype(np.uint8)
    )
    job = tmp_path / "nightly.yaml"
    job.write_text(JOB)
    (tmp_path / "serve.py").write_text(SERVE)
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    env = kept | {
        "PREFECT_HOME": str(tmp_path / "home"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, env=env, **quiet)
    try:
        wait_for(lambda: is_healthy(api), 90, "the server was not healthy")
        arguments = [str(scene), str(job), str(tmp_path / "out")]
        runner = subprocess.Popen(
            [sys.executable, str(tmp_path / "serve.py"), *arguments], env=env | {"PREFECT_API_URL": api}, **quiet
        )
        try:
            wait_for(lambda: completed_runs(api) > 0, 150, "no scheduled run was completed")
        finally:
            stop(runner)
    finally:
        stop(server)
    assert (tmp_path / "out" / "scene" / "mask.tif").is_file()
