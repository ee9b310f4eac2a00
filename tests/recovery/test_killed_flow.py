"""A whole run, killed with its process group and started again, ends in the bytes of one that was not."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from journals import entries
from scenes import write_raster

JOB = """
job: test-kill
kind: raster
model: {name: threshold, arguments: {threshold: 100}}
tiling: {tile: 128, halo: 4, overlap: 8, block: 512}
output: {confidence: true}
analysis: {kind: area}
"""
HELD = Path(__file__).parents[1] / "helpers" / "held_process.py"
PROGRAM = [sys.executable, "-m", "flows.cli"]


def command(job: Path, scene: Path, out: Path, *options: str) -> list[str]:
    given = [str(scene), "--job", str(job), "--out", str(out), "--workers", "1", "--device", "cpu"]
    return [*PROGRAM, "segment", *given, *options]


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return kept | {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}


def product_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "run.json"}


def run_states(home: Path) -> list[str]:
    """What the Prefect server of a folder says of its runs."""
    with closing(sqlite3.connect(home / "prefect.db")) as connection:
        return [state for (state,) in connection.execute("SELECT state_type FROM flow_run")]


def kill_at(point: str, words: list[str], env: dict[str, str]) -> None:
    """Begin a run, and kill it with its process group at a point that it does not pass."""
    held = [sys.executable, str(HELD), point, *words]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "start_new_session": True, "env": env}
    with subprocess.Popen(held, **quiet) as process:
        assert process.stdout.readline() == b"held\n"
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    "options", [(), pytest.param(("--prefect",), marks=pytest.mark.slow)], ids=["plain", "prefect"]
)
def test_a_killed_run_ends_in_the_same_product(tmp_path, options):
    image = np.random.default_rng(0).integers(0, 200, (1, 3000, 2600)).astype(np.uint8)
    scene = write_raster(tmp_path / "scene.tif", image)
    job = tmp_path / "job.yaml"
    job.write_text(JOB)
    env = environment(tmp_path / "prefect")
    untouched = tmp_path / "untouched"
    subprocess.run(command(job, scene, untouched, *options), env=env, check=True, capture_output=True, timeout=200)

    out = tmp_path / "out"
    words = command(job, scene, out, *options)[len(PROGRAM) :]
    kill_at("blocks", words, env)
    assert not (out / "scene").exists(), "nothing half-written is visible under a product's name"
    committed = {path: path.stat().st_mtime_ns for path in entries(out)}
    assert 5 <= len(committed) < 36

    kill_at("publish", words, env)
    assert any(out.glob(".swathe/scenes/*/*/product-*/*"))
    assert not (out / "scene").exists()
    assert {path: path.stat().st_mtime_ns for path in committed} == committed, "whole blocks are not redone"

    subprocess.run(command(job, scene, out, *options), env=env, check=True, capture_output=True, timeout=200)
    expected, resumed = product_bytes(untouched / "scene"), product_bytes(out / "scene")
    assert resumed.keys() == expected.keys()
    for name, content in expected.items():
        assert resumed[name] == content, name
    if not options:
        assert not (tmp_path / "prefect").exists(), "no server was started"
        return
    states = run_states(tmp_path / "prefect")
    assert sorted(states) == ["COMPLETED", "COMPLETED", "CRASHED", "CRASHED"], "a run whose process is gone is closed"


def test_a_wrong_job_is_exit_code_two_and_one_line(tmp_path):
    scene = write_raster(tmp_path / "scene.tif", np.zeros((1, 9, 9), np.uint8))
    job = tmp_path / "job.yaml"
    job.write_text(JOB.replace("halo: 4", "hallo: 4"))
    ended = subprocess.run(
        command(job, scene, tmp_path / "out"), env=environment(tmp_path / "p"), capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert "unknown key 'tiling.hallo'" in ended.stderr
    assert "Traceback" not in ended.stderr
