"""Many small scenes in one batch, 3 % of them bad, on a server as ``swathe up`` starts it: what grows, how pages open.

Set ``SWATHE_SCENES`` for another number than 1,000.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import rasterio
from rasterio.transform import Affine

from flows.local.processes import read_services
from flows.local.up import LocalSettings, down, left_running, up

_N = int(os.environ.get("SWATHE_SCENES", "1000"))
_SIDE = 256
_EVERY_BAD = 33
_JOB = """
job: small
kind: raster
model: {name: threshold, arguments: {threshold: 100}}
run: {threads: 1}
analysis: {kind: area}
"""
_PAGES = {
    "list of runs": "/v2/runs",
    "page of the run": "/v2/runs/flow-run/{run}",
    "artifacts of the run": "/v2/runs/flow-run/{run}?tab=Artifacts",
    "list of artifacts": "/v2/artifacts",
}
_LOOKING_S = 2.0
_BUSY_S = 60.0


@dataclass(frozen=True)
class _Sample:
    """What the processes hold when so many scenes have ended."""

    scenes: int
    seconds: float
    memory_mb: dict[str, float]
    database_mb: float


def run(folder: Path) -> None:
    """Print memory and time at a quarter, a half and the whole of the batch, and how long pages take to open."""
    inbox = folder / "in"
    n_bad = _write_scenes(inbox)
    job = folder / "small.yaml"
    job.write_text(_JOB)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = LocalSettings(home=folder / "home", data=folder, out=folder / "out", port=port)
    up(settings, lambda line: print(f"  {line}", flush=True))
    try:
        _measure(settings, job, inbox, n_bad)
    finally:
        down(settings.home)


def _measure(settings: LocalSettings, job: Path, inbox: Path, n_bad: int) -> None:
    known = left_running(settings.home) or {}
    user, password = known["PREFECT_API_AUTH_STRING"].split(":", 1)
    with httpx.Client(base_url=settings.api, auth=(user, password), timeout=120) as server:
        deployment = server.get("/deployments/name/batch/batch").raise_for_status().json()
        out = settings.out / "small"
        order = {"job": str(job), "out": str(out), "inputs": [str(inbox)], "name": "thousand"}
        question = {"parameters": {"order": order}, "state": {"type": "SCHEDULED"}}
        flow_run = _submitted(server, deployment["id"], question)
        for sample in _followed(server, flow_run, settings, out):
            memory = ", ".join(f"{name} {size:.0f}" for name, size in sample.memory_mb.items())
            speed = sample.scenes / max(1, sample.seconds)
            print(f"{sample.scenes} products in {sample.seconds:.0f} s, {speed:.2f} a second", flush=True)
            print(f"  MB: {memory}; database {sample.database_mb:.0f}", flush=True)
        state = server.get(f"/flow_runs/{flow_run}").json()["state"]
        print(f"ended as {state['name']}: {state['message']} (bad inputs: {n_bad})")
        _open_pages(settings, known["PREFECT_API_AUTH_STRING"], flow_run)


def _submitted(server: httpx.Client, deployment: str, question: dict[str, Any]) -> str:
    limit = time.monotonic() + _BUSY_S
    while True:
        answer = server.post(f"/deployments/{deployment}/create_flow_run", json=question)
        # A server on SQLite answers so while another one writes; Prefect's own client asks again too.
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > limit:
            return str(answer.raise_for_status().json()["id"])
        time.sleep(1)


def _followed(server: httpx.Client, flow_run: str, settings: LocalSettings, out: Path) -> Iterator[_Sample]:
    marks = [_N // 4, _N // 2, 3 * _N // 4]
    begun = None
    while True:
        time.sleep(_LOOKING_S)
        done = sum(1 for path in out.iterdir() if path.is_symlink()) if out.exists() else 0
        if begun is None and (out / ".swathe" / "lock").exists():
            begun = time.monotonic()
        seconds = 0.0 if begun is None else time.monotonic() - begun
        ended = server.get(f"/flow_runs/{flow_run}").json()["state"]["type"] in {"COMPLETED", "FAILED", "CRASHED"}
        if ended or (marks and done >= marks[0]):
            marks = [mark for mark in marks if mark > done]
            yield _Sample(done, seconds, _memory(settings.home), _size_mb(settings.home / "prefect"))
        if ended:
            return


def _memory(home: Path) -> dict[str, float]:
    """Return what each service holds, and below the Prefect worker the largest process: the flow."""
    sizes = {}
    for service in read_services(home / "services.json"):
        tree = [psutil.Process(service.pid), *psutil.Process(service.pid).children(recursive=True)]
        held = [_held_mb(process) for process in tree]
        sizes[service.name] = sum(held)
        if service.name == "worker":
            sizes["worker"], sizes["flow"] = held[0], max(held[1:], default=0.0)
    return sizes


def _held_mb(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss) / 1e6
    except psutil.NoSuchProcess:
        return 0.0


def _size_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.glob("prefect.db*")) / 1e6


def _open_pages(settings: LocalSettings, auth: str, flow_run: str) -> None:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        print("no browser is here: pages were not opened")
        return
    from playwright.sync_api import sync_playwright

    base = settings.api.removesuffix("/api")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(f"{base}/v2/login")
        page.locator("input").first.fill(auth)
        page.keyboard.press("Enter")
        page.wait_for_url("**/dashboard**", timeout=120_000)
        for name, path in _PAGES.items():
            times = [_open_s(page, base + path.format(run=flow_run)) for _ in range(3)]
            print(f"{name}: {statistics.median(times):.1f} s", flush=True)
        browser.close()


def _open_s(page: Any, address: str) -> float:  # noqa: ANN401 - playwright may not be there
    begin = time.monotonic()
    page.goto(address, wait_until="networkidle", timeout=120_000)
    # The network counts as idle half a second after its last byte.
    return time.monotonic() - begin - 0.5


def _write_scenes(folder: Path) -> int:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    profile = {
        "driver": "GTiff", "height": _SIDE, "width": _SIDE, "count": 1, "dtype": "uint8", "crs": "EPSG:32632",
        "transform": Affine(20, 0, 500000, 0, -20, 5000000),
    }  # fmt: skip
    n_bad = 0
    for number in range(_N):
        path = folder / f"scene-{number:04}.tif"
        with rasterio.open(path, "w", **profile) as dataset:
            dataset.write(rng.integers(0, 200, (1, _SIDE, _SIDE)).astype(np.uint8))
        if number % _EVERY_BAD == 5:
            path.write_bytes(path.read_bytes()[:1500])
            n_bad += 1
    return n_bad
