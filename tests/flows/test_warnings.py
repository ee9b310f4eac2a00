"""What the check says of an input stands with its product, word for word, wherever that is shown."""

from __future__ import annotations

import csv
import html
import json
from datetime import date

import numpy as np
import pytest
from scenes import write_raster, write_volume
from typer.testing import CliRunner

from flows.batch.steps import plan
from flows.batch.triage import triage
from flows.commands.app import app
from flows.display.artifacts import batch_text, night_text, scene_text
from flows.nightly.night import Nightly, run_night
from tasks.errors import ConstantSceneError
from tasks.inputs.listing import list_inputs
from tasks.intake.request import make_request
from tasks.jobs.job import load_job
from tasks.reports.index_rank import ranked
from tasks.verdict.check import check_files, check_inputs
from tasks.verdict.verdict import Verdict

pytestmark = pytest.mark.usefixtures("shared_worker")

JOB = """
job: bright
kind: {kind}
model: {{name: threshold, arguments: {{threshold: 300}}}}
source: {{dates: {{post: "{{scene:%Y%m%d}}"}}}}
"""
NO_SIDE = "sform and qform codes are 0: where left and right are is a convention here, not a fact"


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 200, shape).astype(np.int16)


def unplaced(path, values):
    import nibabel

    write_volume(path, values)
    image = nibabel.load(path)
    image.set_sform(image.affine, code=0)
    image.set_qform(None, code=0)
    nibabel.save(nibabel.Nifti1Image(np.asanyarray(image.dataobj), None, image.header), path)
    return path


@pytest.fixture
def job(tmp_path):
    def write(kind):
        path = tmp_path / "bright.yaml"
        path.write_text(JOB.format(kind=kind))
        return str(path)

    return write


def table(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def run(*arguments):
    ended = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert not ended.exception or isinstance(ended.exception, SystemExit), ended.exception
    return ended.exit_code, " ".join(ended.output.split())


@pytest.fixture
def shown(monkeypatch):
    """What the server's pages would say, where a run has one: the artifacts' texts."""
    texts: list[str] = []
    plain = "flows.orchestration.plain.PlainOrchestrator"
    monkeypatch.setattr(f"{plain}.show_scene", lambda _, *told: texts.append(scene_text(*told, None)))
    monkeypatch.setattr(
        f"{plain}.show_batch",
        lambda _, job, found, out, trails=(): texts.append(batch_text(job, ranked(found), out, trails)),
    )
    monkeypatch.setattr(f"{plain}.show_night", lambda _, *told: texts.append(night_text(*told)))
    return texts


def test_one_warning_is_followed_through_six_places(tmp_path, job, shown):
    inbox, out, name = tmp_path / "in", tmp_path / "out", "anna_20260720"
    unplaced(inbox / f"{name}.nii.gz", noise(20, 18, 9))
    write_volume(inbox / "berta_20260720.nii.gz", noise(20, 18, 9, seed=1))
    path = job("volume")
    told = {v.path: v.warnings for v in check_inputs(list_inputs([str(inbox)], load_job(path)), load_job(path), ("1",))}
    assert told == {name: (NO_SIDE,), "berta_20260720": ()}

    def night():
        order = Nightly(inbox=str(inbox), night=date(2026, 7, 21), job=path, out=out, workers=1, wait_hours=1)
        return {scene.id: scene.warnings for scene in run_night(order).scenes}

    assert night() == told
    assert json.loads((out / name / "summary.json").read_text())["warnings"] == [NO_SIDE]
    assert NO_SIDE in html.unescape((out / name / "report.html").read_text())
    assert NO_SIDE not in html.unescape((out / "berta_20260720" / "report.html").read_text())
    rows = {row["scene"]: row["warnings"] for row in table(out / "batch.csv")}
    assert rows == {name: NO_SIDE, "berta_20260720": ""}
    for page in (out / "index.html", out / "nights" / "2026-07-21.html"):
        assert html.unescape(page.read_text()).count(NO_SIDE) == 1, page
    assert [NO_SIDE in text for text in shown] == ["berta" not in text.split("\n")[0] for text in shown]
    assert sum(NO_SIDE in text for text in shown) == 3, "the scene's, the batch's and the night's"
    # What is unchanged says the same again.
    assert night() == told
    rows = {row["scene"]: (row["status"], row["warnings"]) for row in table(out / "batch.csv")}
    assert rows[name] == ("skipped", NO_SIDE)


def test_a_strict_run_refuses_whatever_has_a_warning(tmp_path, job):
    inbox, out, path = tmp_path / "in", tmp_path / "out", job("raster")
    write_raster(inbox / "placed_20260720.tif", noise(1, 40, 30))
    write_raster(inbox / "nowhere_20260720.tif", noise(1, 40, 30), crs=None)
    words = "no CRS: areas cannot be computed"
    for command in (
        ["check", inbox, "--strict"],
        ["check", inbox, "--job", path, "--strict"],
        ["check", inbox, "--job", path, "--set", "run.strict=true"],
        ["segment", inbox, "--job", path, "--out", out, "--workers", "1", "--strict"],
    ):
        code, text = run(*command)
        assert code == 1, command
        assert "WarnedSceneError" in text, command
        assert words in text, command
    statuses = {row["scene"]: row["status"] for row in table(out / "batch.csv")}
    assert statuses == {"placed_20260720": "done", "nowhere_20260720": "failed"}
    # The product of a strict run is that of another one.
    code, _ = run("segment", inbox, "--job", path, "--out", out, "--workers", "1")
    assert code == 0
    statuses = {row["scene"]: row["status"] for row in table(out / "batch.csv")}
    assert statuses == {"placed_20260720": "skipped", "nowhere_20260720": "done"}


def test_submitted_batches_are_as_strict(tmp_path, job, prefect_api):
    write_raster(tmp_path / "in" / "nowhere_20260720.tif", noise(1, 40, 30), crs=None)
    command = ["submit", tmp_path / "in", "--job", job("raster"), "--out", tmp_path / "out", "--strict"]
    ended = CliRunner().invoke(app, [str(part) for part in command])
    assert "none of 1 inputs can be segmented" in str(ended.exception)
    assert "WarnedSceneError" in ended.output


def test_what_the_look_left_out_is_no_warning_of_the_input():
    verdict = Verdict(
        path="v", kind="volume", go=True, error=None, message="fine", unseen=("only the first 5 of 9 bytes were read",)
    )
    assert verdict.strictly() == verdict
    assert Verdict.from_json(verdict.to_json()) == verdict


def test_a_picture_of_one_value_fails_its_scene(tmp_path, job):
    flat = np.full((12, 10, 8), 7, np.int16)
    write_volume(tmp_path / "v.nii.gz", flat)
    write_raster(tmp_path / "r.tif", np.full((2, 30, 40), 5, np.uint8))
    write_raster(tmp_path / "half.tif", np.stack([np.full((30, 40), 5), noise(30, 40)]).astype(np.uint8))
    # More than is looked at entirely: every pixel is read before it is called constant.
    large = np.full((1, 2200, 2200), 5, np.uint8)
    write_raster(tmp_path / "large.tif", large)
    large[0, 1500, 700] = 6
    write_raster(tmp_path / "nearly.tif", large)
    found = {v.path.rsplit("/", 1)[-1]: v for v in check_files([str(tmp_path)])}
    refused = {name for name, verdict in found.items() if verdict.error == "ConstantSceneError"}
    # Of a raster a file alone may be one of several, such as a cloud mask without a cloud.
    assert refused == {"v.nii.gz"}
    told = {name for name, verdict in found.items() if any("every value is 5" in text for text in verdict.warnings)}
    assert told == {"r.tif", "large.tif"}
    assert all(found[name].go for name in ("r.tif", "half.tif", "large.tif", "nearly.tif"))

    loaded = load_job(job("raster"), ('source.bands={"a": {"band": 1}, "b": {"band": 2}}',))
    items = list_inputs([str(tmp_path / "half.tif")], loaded)
    (both,) = check_inputs(items, loaded, ("a", "b"))
    assert both.warnings == ("band a: every pixel is 5",)
    (alone,) = check_inputs(items, loaded, ("a",))
    assert (alone.go, alone.warnings) == (True, ("band a: every pixel is 5",)), "perhaps no heat was seen that night"
    (other,) = check_inputs(items, loaded, ("b",))
    assert (other.go, other.warnings) == (True, ())
    items = list_inputs([str(tmp_path / "r.tif")], loaded)
    (neither,) = check_inputs(items, loaded, ("a", "b"))
    assert (neither.go, neither.error) == (False, "ConstantSceneError")


def test_a_constant_volume_that_is_too_large_to_be_looked_at_fails_before_its_first_block(tmp_path, job, monkeypatch):
    write_volume(tmp_path / "in" / "v.nii.gz", np.full((12, 10, 8), 7, np.int16))
    cut_short = Verdict(
        path="v",
        kind="volume",
        go=True,
        error=None,
        message="fine",
        facts={"shape": [12, 10, 8]},
        unseen=("only a part was read",),
    )
    monkeypatch.setattr("flows.batch.steps.check_inputs", lambda items, *_: [cut_short] * len(items))
    request = make_request(load_job(job("volume")), tmp_path / "out")
    _, (fresh,) = triage(request, list_inputs([str(tmp_path / "in")], request.job), "run")
    with pytest.raises(ConstantSceneError, match="v: every value is 7"):
        plan(request, fresh, None, 1)
