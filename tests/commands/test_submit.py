"""What a submitted run is told: what was checked here, wherever the worker stands."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flows.batch import queueing
from flows.batch.orders import Submission
from flows.commands import orchestrated, submit
from flows.server.deploy import shipped
from models.registry import ZOO, resolve_model
from tasks.inputs.input import Input
from tasks.jobs.job import load_job

SHIPPED, MODEL = "sarcoma", "sarcoma-t1-unet"


@pytest.fixture
def queued(tmp_path, monkeypatch):
    """Submit from a working directory, on a server that takes everything."""
    orders: list[Submission] = []

    def queue(order: Submission, job: str) -> queueing.Queued:
        orders.append(order)
        return queueing.Queued("1", f"http://server/{job}", "routine")

    scene = Input(id="A", files={"file": str(tmp_path / "a.nii")})
    monkeypatch.setattr(queueing, "check_batch", lambda *_: queueing.Checked((scene,), ()))
    monkeypatch.setattr(queueing, "enter", lambda *_: None)
    monkeypatch.setattr(orchestrated, "use_server", lambda _: True)
    monkeypatch.setattr(queueing, "queue_run", queue)
    monkeypatch.chdir(tmp_path)

    def submitted(job: str, model: str | None = None) -> Submission:
        submit.submit_command(["a.nii"], job, Path("out"), model=model)
        return orders.pop()

    return submitted


@pytest.mark.parametrize("in_the_way", [True, False])
def test_names_that_ship_stay_names_whatever_lies_in_the_working_directory(tmp_path, queued, in_the_way):
    if in_the_way:
        for name in (SHIPPED, MODEL):
            (tmp_path / name).mkdir()
    order = queued(SHIPPED, MODEL)
    assert (order.job, order.model) == (SHIPPED, MODEL)


def test_a_method_without_weights_stays_a_name(tmp_path, queued):
    (tmp_path / "job.yaml").write_text("{job: j, kind: raster, model: {name: threshold, arguments: {threshold: 1}}}")
    assert queued("job.yaml", "identity").model == "identity"
    (tmp_path / "identity").mkdir()
    assert queued("job.yaml", "identity").model == "identity"
    assert queued("job.yaml").model is None


@pytest.mark.parametrize("job", ["mine", "mine.yaml", "./sarcoma"])
def test_paths_are_those_of_the_working_directory(tmp_path, queued, monkeypatch, job):
    text = (Path(submit.__file__).parents[2] / "configs" / f"{SHIPPED}.yaml").read_text()
    (tmp_path / job).write_text(text)
    for suffix in ("json", "safetensors"):
        shutil.copy(ZOO / f"{MODEL}.{suffix}", tmp_path)
    order = queued(job, f"{MODEL}.json")
    assert order.job == str(tmp_path / job)
    monkeypatch.chdir("/")
    assert load_job(order.job).job == SHIPPED
    assert resolve_model(order.model)[1] == tmp_path


@pytest.mark.parametrize(
    ("cluster", "urgent", "queue"),
    [
        ("auto", False, "routine"),
        ("tcp://scheduler:8786", False, "routine"),
        ("local", False, "gpu"),
        ("local", True, "urgent"),
        ("auto", True, "urgent"),
    ],
)
def test_what_computes_on_the_workers_own_machine_waits_in_the_queue_of_its_gpus(cluster, urgent, queue):
    order = Submission(inputs=["a.tif"], job=SHIPPED, out=Path("out"), cluster=cluster, urgent=urgent)
    assert queueing.queue_of(order) == queue
    assert queue in shipped("prefect.yaml")["definitions"]["queues"]


@pytest.mark.parametrize(
    ("items", "folder", "name"),
    [
        ([Input(id="A", files={})], "out", "A"),
        ([Input(id="A", files={}, site="T32TQM", date="2026-11-19")], "out", "T32TQM · 2026-11-19"),
        ([Input(id="A", files={}), Input(id="B", files={})], "out", "out · 2 scenes"),
        ([Input(id="A" * 80, files={})], "out", "A" * 80),
        ([Input(id="A" * 200, files={})], "out", "A" * 79 + "…"),
        ([Input(id="A" * 200, files={}, date="2026-11-19")], "out", "A" * 66 + "… · 2026-11-19"),
        ([Input(id="A", files={}), Input(id="B", files={})], "o" * 200, "o" * 68 + "… · 2 scenes"),
    ],
)
def test_a_name_that_nobody_gave_is_as_short_as_a_run_may_be_called(items, folder, name):
    assert submit._name(items, Path("/") / folder) == name
    Submission(inputs=["a.tif"], job=SHIPPED, out=Path("out"), name=submit._name(items, Path("/") / folder))
