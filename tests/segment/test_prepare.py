"""What is decided before the first block, and what a restart finds again."""

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from scenes import write_raster
from typer.testing import CliRunner

from flows.commands.app import app
from tasks.errors import JobError, StoreError
from tasks.files.fingerprint import Fingerprint
from tasks.inputs.listing import list_inputs
from tasks.intake.request import make_request
from tasks.jobs.job import Job
from tasks.out.folder import OutFolder
from tasks.out.ledger import Ledger
from tasks.scenes.raster.scene import describe_raster
from tasks.segment.measure import measure_slot
from tasks.segment.prepare import Prepared, prepare

RAW = {"job": "mine", "kind": "raster", "source": {"bands": {"B1": {"band": 1}}}, "model": {"name": "identity"}}


@pytest.fixture(scope="module")
def raster(tmp_path_factory) -> Path:
    image = np.zeros((1, 6000, 6000), np.uint8)
    return write_raster(tmp_path_factory.mktemp("raster") / "large.tif", image)


def prepared(raster: Path, out: Path, n_slots: int, **tiling) -> Prepared:
    request = make_request(Job.model_validate(RAW | {"tiling": tiling}), out)
    scene = describe_raster("large", {"file": str(raster)}, request.job.source, request.card.channels)
    slot = measure_slot(request.card, None, request.job, 1)
    return prepare(request, scene, Fingerprint("a", content_hashed=True), slot, n_slots)


def test_a_restart_with_other_workers_goes_on_with_the_blocks_that_were_begun(raster, tmp_path):
    one, four = (prepared(raster, tmp_path / name, n).work.plan.block for name, n in (("one", 1), ("four", 4)))
    assert one != four, "more slots want more blocks"
    begun = prepared(raster, tmp_path / "out", 1).work
    again = prepared(raster, tmp_path / "out", 4).work
    assert (again.plan.block, again.store) == (begun.plan.block, begun.store)


def test_a_block_that_the_job_names_is_taken_whatever_was_begun(raster, tmp_path):
    begun = prepared(raster, tmp_path, 1)
    named = prepared(raster, tmp_path, 1, block=1024)
    assert named.work.plan.block == (1024, 1024)
    assert named.work.store != begun.work.store
    assert named.product_key == begun.product_key


def test_other_tiles_do_not_go_on_with_the_blocks_of_the_first(raster, tmp_path):
    begun, other = prepared(raster, tmp_path, 1), prepared(raster, tmp_path, 4, tile=256)
    assert other.work.store != begun.work.store
    assert other.work.plan.block != begun.work.plan.block


def test_a_folder_belongs_to_the_job_of_its_first_run(tmp_path):
    ledger = Ledger(tmp_path / "state.sqlite")
    ledger.begin_run("1", "fire", "2026-01-01")
    ledger.begin_run("2", "fire", "2026-01-02")
    with pytest.raises(StoreError, match=r"belongs to the job 'fire', and 'crop' would mix.*--out"):
        ledger.begin_run("3", "crop", "2026-01-03")


def test_file_names_on_a_command_line_do_not_become_parameters_of_the_run(tmp_path, raster, monkeypatch):
    patient = tmp_path / "DOE_JANE.tif"
    patient.symlink_to(raster)
    job = tmp_path / "job.yaml"
    job.write_text(json.dumps(RAW))
    seen = []
    monkeypatch.setattr("flows.batch.segment.segment_batch", lambda batch: seen.append(batch) or [])
    monkeypatch.setattr("flows.batch.workers.started_early", lambda _: nullcontext())
    result = CliRunner().invoke(app, ["segment", str(patient), "--job", str(job), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    (batch,) = seen
    assert "DOE" not in batch.model_dump_json()
    assert [item.files for item in list_inputs(batch.inputs, Job.model_validate(RAW))] == [{"file": str(patient)}]


def test_a_list_of_inputs_stands_for_what_it_names(tmp_path, raster):
    job = Job.model_validate(RAW)
    kept = OutFolder(tmp_path).keep_inputs([str(raster), str(raster.parent)])
    assert list_inputs([kept], job) == list_inputs([str(raster)], job)
    with pytest.raises(JobError, match="@nowhere: not a readable list of inputs"):
        list_inputs(["@nowhere"], job)
