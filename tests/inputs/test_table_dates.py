"""A date that a table gives counts as one in the id does, and a report says how good its model is."""

import json
from dataclasses import replace

import numpy as np
from scenes import write_raster

from models.predictors.fakes import fake_card
from models.registry import resolve_model
from tasks.analysis.analyse import analyse, quality_of
from tasks.files.fingerprint import Fingerprint
from tasks.inputs.input import Input
from tasks.inputs.listing import list_inputs
from tasks.intake.describe import describe, identify
from tasks.intake.request import make_request
from tasks.jobs.job import Job
from tasks.products.begin import begin_product
from tasks.products.finish import finish
from tasks.scenes.vectors import read_vectors
from tasks.segment.graph import PlainEngine
from tasks.segment.measure import measure_slot
from tasks.segment.prepare import prepare

JOB = Job.model_validate(
    {"job": "t", "kind": "raster", "model": {"name": "identity", "arguments": {"n_classes": 2}},
     "source": {"dates": {"post": "{scene:%Y%m%d}"}}, "analysis": {"kind": "fire", "min_area_ha": 0}}
)  # fmt: skip


def product(folder, request, item: Input):
    slot = measure_slot(request.card, request.card_folder, request.job, 1)
    prepared = prepare(request, describe(request, item), Fingerprint("0" * 64, content_hashed=False), slot, 1)
    prepared = replace(prepared, files=item.files, date=item.date)
    for _ in PlainEngine().run_blocks(prepared.work, prepared.work.plan.blocks(prepared.scene.frame)):
        pass
    made = begin_product(prepared)
    finish(request, prepared, made)
    analyse(request, prepared, made)
    return made


def test_fires_are_called_after_the_date_in_the_table(tmp_path):
    write_raster(tmp_path / "x.tif", np.ones((1, 40, 50), np.uint8))
    (tmp_path / "t.csv").write_text("scene,file,date\nx,x.tif,2026-07-26\n")
    (item,) = list_inputs([str(tmp_path / "t.csv")], JOB)
    request = make_request(JOB, tmp_path / "out")
    made = product(tmp_path, request, item)
    summary = json.loads((made / "summary.json").read_text())
    assert summary["dates"] == {"post": "2026-07-26"}
    assert not any("no date" in warning for warning in summary["warnings"])
    table = read_vectors(made / "objects.parquet")
    assert list(table.columns["date"]) == ["2026-07-26"]
    assert "2026" in table.columns["id"][0]
    bare = product(tmp_path, make_request(JOB, tmp_path / "bare"), replace(item, date=None))
    assert any("no date" in warning for warning in json.loads((bare / "summary.json").read_text())["warnings"])


def test_another_date_in_the_table_is_another_input_and_one_of_the_id_is_not(tmp_path):
    path = write_raster(tmp_path / "x_20260726.tif", np.ones((1, 40, 50), np.uint8))
    request = make_request(JOB, tmp_path / "out")
    request.out.scratch.mkdir(parents=True)
    item = Input(id="x_20260726", files={"file": str(path)})
    found = [identify(request, replace(item, date=day)).sha256 for day in (None, "2026-07-26", "2026-07-27")]
    assert found[0] == found[1] != found[2]


def test_a_report_says_how_good_its_model_was():
    card, _ = resolve_model("sarcoma-t1-unet", None)
    assert quality_of(card) == ("Quality that its card states: mean Dice 0.64 of 39 scenes (median 0.69, worst 0.04)",)
    assert quality_of(fake_card("identity", {}, ("1",), "raster")) == ()
