"""Batches on a real server with a real worker: urgent ones overtake, cancelled ones go on, pages show them."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import httpx
import numpy as np
import pytest
import yaml
from distributed import Client
from scenes import write_raster

from flows.local.up import LocalSettings, down, up
from tasks.out.ledger import Ledger
from tasks.segment.graph import URGENT

JOB = """
job: grey
title: Grey levels
kind: raster
model: {name: threshold, arguments: {threshold: 100}}
tiling: {tile: 128, halo: 4, overlap: 8, block: 512}
run: {threads: 1}
output: {confidence: true}
analysis: {kind: area}
"""
SECRET = "Mustermann"
# Starting processes on a busy machine takes most of it.
LIMIT_S = 400
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}

pytestmark = [
    pytest.mark.timeout(6 * LIMIT_S),
    pytest.mark.skipif(
        not os.environ.get("SWATHE_TEST_SERVICES"),
        reason="starts a server, a scheduler and workers: make services",
    ),
]


@dataclass
class Services:
    """What ``swathe up`` started."""

    settings: LocalSettings
    job: Path

    @property
    def auth(self) -> str:
        return (self.settings.home / "password").read_text()

    def ask(self, path: str, question: dict[str, Any] | None = None) -> Any:
        user, password = self.auth.split(":", 1)
        with httpx.Client(base_url=self.settings.api, auth=(user, password), timeout=60) as server:
            answer = server.get(path) if question is None else server.post(path, json=question)
            return answer.raise_for_status().json()

    def submit(self, inputs: Path, out: Path, *options: str) -> tuple[int, str]:
        """Return the exit code, and the id of the run or what was said instead."""
        command = [sys.executable, "-m", "flows.cli", "submit", str(inputs), "--job", str(self.job), "--out", str(out)]
        done = subprocess.run(
            [*command, *options, "--home", str(self.settings.home)], capture_output=True, text=True, check=False
        )
        found = re.search(r"run ([0-9a-f-]{36})", done.stdout)
        return done.returncode, found[1] if found else done.stdout + done.stderr

    def state(self, run: str) -> str:
        return str(self.ask(f"/flow_runs/{run}")["state"]["type"])

    def cancel(self, run: str) -> None:
        wanted = {"state": {"type": "CANCELLING"}, "force": False}
        self.ask(f"/flow_runs/{run}/set_state", wanted)


def wait_for(reached: Callable[[], bool], what: str) -> None:
    limit = time.monotonic() + LIMIT_S
    while not reached():
        assert time.monotonic() < limit, f"{what} took too long"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def services(tmp_path_factory) -> Iterator[Services]:
    root = tmp_path_factory.mktemp("services")
    job = root / "grey-job.yaml"
    job.write_text(JOB)
    with socket.socket() as first, socket.socket() as second:
        # The scheduler has the port after the server's.
        first.bind(("127.0.0.1", 0))
        port = first.getsockname()[1]
        try:
            second.bind(("127.0.0.1", port + 1))
        except OSError:
            port += 2
    settings = LocalSettings(home=root / "home", data=root / "data", out=root / "out", port=port)
    up(settings, lambda _: None)
    yield Services(settings, job)
    down(settings.home)


def scenes(folder: Path, names: list[str], side: int) -> Path:
    """Write rasters that are called after people, and a table that calls them otherwise."""
    rng = np.random.default_rng(len(names))
    rows = ["scene,file"]
    for name in names:
        path = write_raster(folder / f"{SECRET}_{name}.tif", rng.integers(0, 200, (1, side, side)).astype(np.uint8))
        rows.append(f"{name},{path}")
    table = folder / "scenes.csv"
    table.write_text("\n".join(rows) + "\n")
    return table


def runs_of(out: Path) -> dict[str, str]:
    """Return which run made each product that is in place, of products that are whole."""
    found = {}
    for link in (path for path in out.iterdir() if path.is_symlink()):
        assert {"mask.tif", "confidence.tif", "summary.json", "report.html"} <= {path.name for path in link.iterdir()}
        assert len(list((out / ".products" / link.name).iterdir())) == 1, "nothing is done twice"
        found[link.name] = json.loads((link / "run.json").read_text())["run"]
    return found


def test_an_urgent_study_overtakes_and_a_cancelled_batch_is_continued(services, tmp_path):
    names = [f"R-{number}" for number in range(6)]
    routine, out = scenes(tmp_path / "routine", names, 1000), tmp_path / "out"
    urgent = scenes(tmp_path / "urgent", ["U-1"], 400)
    with urgent.open("a") as table:
        table.write(f"U-2,{tmp_path}/{SECRET}_missing.tif\n")

    code, first = services.submit(routine, out, "--name", "ward 3")
    assert code == 0, first
    wait_for(lambda: any(out.glob("R-*")), "the first product")
    with held_back(services):
        code, second = services.submit(urgent, out, "--urgent")
        assert code == 1, "what was refused is told, and the rest is submitted"
        wait_for(lambda: services.state(second) in ENDED, "the urgent run")
        assert services.state(second) == "COMPLETED"
        overtaken(services, out, names, first)
        services.cancel(first)
        wait_for(lambda: services.state(first) in ENDED, "cancelling")
    assert services.state(first) == "CANCELLED"
    assert Ledger(out / "state.sqlite").newest_run().outcome == "interrupted"
    left = runs_of(out)
    assert not any(row.status == "failed" for row in Ledger(out / "state.sqlite").products())

    code, third = services.submit(routine, out)
    assert code == 0
    wait_for(lambda: services.state(third) in ENDED, "the rest")
    assert services.state(third) == "COMPLETED"
    ended = runs_of(out)
    assert set(ended) == {*names, "U-1"}
    assert {name: ended[name] for name in left} == left, "what was there is left alone"

    run = services.ask(f"/flow_runs/{first}")
    assert run["name"] == "grey · ward 3"
    assert services.ask(f"/flow_runs/{second}")["name"] == "grey · U-1"
    assert services.ask(f"/flow_runs/{third}")["name"] == "grey · out · 6 scenes"
    assert_nothing_named(services)


@contextmanager
def held_back(services: Services) -> Iterator[None]:
    """Fill the only slot with work that goes before routine blocks and after urgent ones."""
    certificates = yaml.safe_load(services.settings.dask_settings.read_text())
    with (
        dask.config.set(dask.config.merge(dask.config.config, certificates)),
        Client(services.settings.cluster, set_as_default=False) as client,
    ):
        sleepers = client.map(
            time.sleep, [0.25] * (LIMIT_S * 4), resources={"CPU": 1}, priority=URGENT // 2, pure=False
        )
        yield
        client.cancel(sleepers, force=True)


def overtaken(services: Services, out: Path, names: list[str], routine: str) -> None:
    made = runs_of(out)
    assert "U-1" in made
    assert not set(names) <= set(made)
    assert services.state(routine) == "RUNNING", "the urgent study did not wait for the batch"
    assert len(set(made.values())) == 1, "the run that holds the folder did it"


def assert_nothing_named(services: Services) -> None:
    """Look for names of files in everything that the server holds."""
    held = {kind: services.ask(f"/{kind}/filter", {"limit": 200}) for kind in ("flow_runs", "task_runs", "logs")}
    held["artifacts"] = services.ask("/artifacts/filter", {"limit": 200})
    held["events"] = services.ask("/events/filter", {"limit": 50})
    assert len(held["flow_runs"]) >= 3
    assert len(held["task_runs"]) > 10
    assert any(" to do" in line["message"] for line in held["logs"]), "our own lines are there"
    for kind, entries in held.items():
        assert SECRET not in json.dumps(entries), kind


def test_where_nothing_can_be_done_nothing_is_queued(services, tmp_path):
    (tmp_path / "torn.tif").write_bytes(b"II*\0")
    batches = {"flows": {"name": {"any_": ["batch"]}}}
    before = services.ask("/flow_runs/count", batches)
    code, told = services.submit(tmp_path / "torn.tif", tmp_path / "out")
    assert code == 2
    assert "UnreadableSceneError" in told
    assert "none of 1 inputs can be segmented; nothing was submitted" in told
    assert services.ask("/flow_runs/count", batches) == before


@pytest.fixture
def page(services, browser) -> Iterator[Any]:
    with browser.new_context(viewport={"width": 1400, "height": 1000}) as context:
        page = context.new_page()
        page.set_default_timeout(LIMIT_S * 1000)
        page.goto(f"{base(services)}/login")
        page.locator("input").first.fill(services.auth)
        page.keyboard.press("Enter")
        page.wait_for_url("**/dashboard**")
        yield page


def base(services: Services) -> str:
    return services.settings.api.replace("/api", "/v2")


def test_the_form_shows_what_a_batch_can_be_told(services, page):
    deployment = services.ask("/deployments/name/batch/batch")
    page.goto(f"{base(services)}/deployments/deployment/{deployment['id']}/run")
    page.get_by_text("How long to wait for the folder").wait_for()
    text = page.inner_text("main")
    # Above it stand the run's own name and tags.
    form = text[text.index("Job") :]
    shown = [form.index(name) for name in ("Job", "Inputs", "Out", "Name", "Urgent", "Model", "Device", "Wait Hours")]
    assert shown == sorted(shown), "what everybody fills in comes first"
    assert "Before routine scenes" in text
    assert "give a table with ids of its own" in text
    assert "`" not in text
    assert page.locator("textarea", has_text=str(services.settings.out)).count() == 1


def test_the_page_of_a_run_shows_its_table_and_a_quick_look(services, page, tmp_path):
    code, run = services.submit(scenes(tmp_path / "one", ["Q-1"], 300), tmp_path / "out", "--name", "looked at")
    assert code == 0, run
    wait_for(lambda: services.state(run) in ENDED, "the run")
    page.goto(f"{base(services)}/runs/flow-run/{run}?tab=Artifacts")
    page.get_by_text("grey: scenes, those to look at first on top").wait_for()
    assert page.get_by_text("grey · looked at").count() > 0
    page.get_by_text("Q-1: quick-look, warnings, files").click()
    picture = page.get_by_role("img", name="Preview of Q-1")
    picture.wait_for()
    page.wait_for_function("() => [...document.images].some(e => e.alt === 'Preview of Q-1' && e.naturalWidth > 100)")
    page.go_back()
    page.get_by_text("grey-batch-scenes").click()
    # Of a key there may be several; the newest is on top.
    page.locator("a[href*='/artifacts/artifact/']").first.click()
    page.get_by_role("cell", name="Q-1").wait_for()
    assert page.get_by_role("cell", name="done").count() == 1
