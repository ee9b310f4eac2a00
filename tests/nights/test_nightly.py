"""Nights: what is new is done once, what came late is caught up with, what was replaced is superseded."""

from __future__ import annotations

import json
import logging
import os
import shutil
from contextlib import ExitStack
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio
from catalogues import make_item, served, write_catalogue
from scenes import derive_earlier, write_raster

from flows.batch.waiting import take
from tasks.errors import HeldFolderError, InboxError, JobError
from tasks.inputs.input import Input
from tasks.intake.request import Request
from tasks.jobs.job import Job
from tasks.jobs.nightly import Retention
from tasks.nights.arrivals import dates_of_products, require_dates
from tasks.nights.night import Night, NightScene, after_run, missed_nights
from tasks.nights.night_ledger import NightLedger
from tasks.nights.retention import is_kept, prune
from tasks.out.folder import OutFolder
from tasks.out.outcome import SceneOutcome

pytestmark = pytest.mark.usefixtures("shared_worker")

JOB = """
job: greens
kind: raster
title: Green cover
model: {name: threshold, arguments: {threshold: 100}}
source:
  files: {post: "{scene}.tif"}
  bands: {"1": {file: post, band: 1}}
  dates: {post: "{scene:%Y%m%d}"}
analysis: {kind: area}
nightly: {retention: {scenes_days: 30, superseded_days: 0}}
"""


def arrive(inbox: Path, name: str, seed: int = 0) -> None:
    values = np.random.default_rng(seed).integers(0, 200, (1, 40, 30)).astype(np.uint8)
    write_raster(inbox / f"{name}.tif", values)


@pytest.fixture
def run(tmp_path):
    job = tmp_path / "greens.yaml"
    job.write_text(JOB)

    def nightly(night: str, wait_hours: float = 1) -> Night:
        from flows.nightly.night import Nightly, run_night

        order = Nightly(
            inbox=str(tmp_path / "in"),
            night=date.fromisoformat(night),
            job=str(job),
            out=tmp_path / "out",
            workers=1,
            wait_hours=wait_hours,
        )
        return run_night(order)

    return nightly


def contents(out: Path) -> dict[str, bytes]:
    files = (path for path in out.rglob("*") if path.is_file() and ".swathe" not in path.parts)
    return {str(path.relative_to(out)): path.read_bytes() for path in files if path.name != "state.sqlite"}


def test_nights_do_what_is_new_once_catch_up_and_supersede(tmp_path, run):
    inbox, out = tmp_path / "in", tmp_path / "out"
    arrive(inbox, "A_20260720")
    arrive(inbox, "old_20260101")
    (inbox / "bad_20260720.tif").write_bytes(b"no picture")

    first = run("2026-07-21")
    assert [(scene.id, scene.status) for scene in first.scenes] == [("A_20260720", "new"), ("bad_20260720", "failed")]
    assert "UnreadableSceneError" in first.failed[0].error
    page = (out / "nights" / "2026-07-21.html").read_text()
    assert "A_20260720/report.html" in page
    assert "bad_20260720" in page
    assert not (out / "old_20260101").exists()

    kept = contents(out / ".products") | contents(out / "nights")
    again = run("2026-07-21")
    assert again == first
    assert contents(out / ".products") | contents(out / "nights") == kept
    assert NightLedger(out / "state.sqlite").newest()[0] == first

    (inbox / "bad_20260720.tif").unlink()
    arrive(inbox, "bad_20260720", 1)
    arrive(inbox, "A_20260720", 2)
    arrive(inbox, "late_20260719", 3)
    replaced = (out / "A_20260720").readlink()
    third = run("2026-07-24")
    assert third.missed == ("2026-07-22", "2026-07-23")
    assert {scene.id: scene.status for scene in third.scenes} == {
        "A_20260720": "superseded",
        "bad_20260720": "new",
        "late_20260719": "new",
    }
    assert (out / "A_20260720").readlink() != replaced
    # By the rules of retention at the end of the night.
    assert not (out / replaced).exists()
    assert json.loads((out / "nights" / "2026-07-24.json").read_text())["missed"] == ["2026-07-22", "2026-07-23"]

    last = run("2026-08-30")
    assert not last.scenes
    assert list((out / ".products").glob("*/*")) == []
    assert not os.path.lexists(out / "A_20260720")


def test_a_night_that_a_wrong_clock_dated_ahead_costs_later_nights_nothing(tmp_path, run):
    inbox, ledger = tmp_path / "in", NightLedger(tmp_path / "out" / "state.sqlite")
    arrive(inbox, "A_20260720")
    run("2026-07-21")
    ledger.enter(Night(date="2999-01-01", job="greens"), "2999-01-01T02:00:00+00:00")
    arrive(inbox, "B_20260722")
    night = run("2026-07-23")
    assert [scene.id for scene in night.scenes] == ["B_20260722"]
    assert night.missed == ("2026-07-22",)
    assert (tmp_path / "out" / "A_20260720" / "mask.tif").is_file()
    assert ledger.newest("2026-12-31") == (night, ledger.newest("2026-07-23")[1])


def test_a_night_that_has_not_come_is_refused_before_anything_is_touched(tmp_path, run):
    arrive(tmp_path / "in", "A_20260720")
    with pytest.raises(JobError, match="9999-12-31 has not come yet"):
        run("9999-12-31")
    assert not (tmp_path / "out").exists()


def test_a_night_of_an_absent_inbox_did_not_happen_and_one_in_which_nothing_came_is_a_good_one(tmp_path, run):
    ledger = NightLedger(tmp_path / "out" / "state.sqlite")
    with pytest.raises(InboxError, match="whether it is mounted"):
        run("2026-07-20")
    assert ledger.newest() is None
    (tmp_path / "in").mkdir()
    quiet = run("2026-07-21")
    assert (quiet.scenes, quiet.waiting, ledger.newest()[0]) == ((), {}, quiet)
    for name in ("A_20260720", "A 20260720", "B_20260720"):
        arrive(tmp_path / "in", name)
    assert {scene.id: scene.status for scene in run("2026-07-22").scenes} == {
        "A_20260720": "failed",
        "B_20260720": "new",
    }


def test_a_night_waits_for_its_folder_and_sees_what_came_meanwhile(tmp_path, run, monkeypatch):
    inbox, folder = tmp_path / "in", OutFolder(tmp_path / "out")
    arrive(inbox, "A_20260720")
    with folder.locked(), pytest.raises(HeldFolderError, match="another run has been writing here for 0 h"):
        run("2026-07-21", wait_hours=0)

    held = ExitStack()
    held.enter_context(folder.locked())

    def other_run_ends(request: Request, mine: ExitStack) -> bool:
        arrive(inbox, "B_20260720")
        held.close()
        return take(request, mine)

    monkeypatch.setattr("flows.batch.waiting.take", other_run_ends)
    assert [scene.id for scene in run("2026-07-21").scenes] == ["A_20260720", "B_20260720"]
    assert not folder.is_locked()


SKY = """
job: sky
kind: raster
model: {name: threshold, arguments: {threshold: 100}}
source:
  bands: {red: {file: red, band: 1}, SCL: {file: scl, band: 1}}
  invalid: {band: SCL, values: [9]}
analysis: {kind: area}
nightly: {stac: {assets: {red: B04, scl: SCL}, lookback_days: 3}}
"""


def test_nights_of_a_catalogue_behind_an_address_catch_up_and_take_what_is_better(tmp_path):
    from flows.nightly.night import Nightly, run_night

    job, out, sky = tmp_path / "sky.yaml", tmp_path / "out", tmp_path / "sky"
    job.write_text(SKY)
    items = []

    def publish(name: str, day: str, value: int, **told) -> None:
        image = np.full((1, 40, 30), value, np.uint8)
        image[0, 0] += 1
        write_raster(sky / "s2" / name / "B04.tif", image)
        classes = np.full((1, 40, 30), 4, np.uint8)
        classes[:, :10] = 9
        write_raster(sky / "s2" / name / "SCL.tif", classes)
        items.append(make_item(name, day, {"B04": "./B04.tif", "SCL": "./SCL.tif"}, **told))
        write_catalogue(sky, [item.clone() for item in items])

    def run(night: str, url: str) -> dict[str, str]:
        order = Nightly(inbox=url, night=date.fromisoformat(night), job=str(job), out=out, workers=1)
        return {scene.id: scene.status for scene in run_night(order).scenes}

    publish("a", "2026-07-19", 50, cloud=40.0)
    publish("older", "2026-07-17", 150)
    with served(sky) as url:
        inbox = f"{url}/catalog.json"
        assert run("2026-07-20", inbox) == {"MGRS-32TQM_20260719": "new", "MGRS-32TQM_20260717": "new"}
        publish("b", "2026-07-19", 150, cloud=5.0)
        publish("c", "2026-07-22", 150)
        publish("late", "2026-07-18", 150)
        publish("too-late", "2026-07-16", 150)
        came = {"MGRS-32TQM_20260719": "superseded", "MGRS-32TQM_20260722": "new", "MGRS-32TQM_20260718": "new"}
        assert run("2026-07-24", inbox) == came
        kept = contents(out / ".products") | contents(out / "nights")
        assert run("2026-07-24", inbox) == came
        assert contents(out / ".products") | contents(out / "nights") == kept
    assert not (out / "MGRS-32TQM_20260716").exists()
    with rasterio.open(out / "MGRS-32TQM_20260719" / "mask.tif") as dataset:
        mask = dataset.read(1)
    assert (mask[:10] == 255).all()
    assert (mask[10:] == 1).all()


@pytest.mark.slow
def test_the_fire_job_of_the_night_finds_in_raw_pictures_what_the_fire_job_finds_with_dnbr(tmp_path, data):
    from flows.batch.orders import Batch
    from flows.batch.segment import segment_batch
    from flows.nightly.night import Nightly, run_night

    folder, name = data / "satellite-fire" / "calfire-s2", "CODY_20240608"
    given = tmp_path / "given"
    for role in ("post_fire", "dnbr"):
        (given / role).mkdir(parents=True)
        shutil.copy(folder / role / f"{name}.tif", given / role)
    inbox = tmp_path / "in"
    inbox.mkdir()
    shutil.copy(given / "post_fire" / f"{name}.tif", inbox)
    derive_earlier(given / "post_fire" / f"{name}.tif", given / "dnbr" / f"{name}.tif", inbox / "CODY_20240520.tif")

    night = run_night(
        Nightly(inbox=str(inbox), night=date(2024, 6, 9), job="fire-nightly", out=tmp_path / "night", workers=1)
    )
    assert [(scene.id, scene.status) for scene in night.scenes] == [(name, "new")]
    assert list(night.waiting) == ["CODY_20240520"]
    segment_batch(Batch(inputs=[str(given)], job="fire", out=tmp_path / "batch", workers=1))
    masks = []
    for out in ("night", "batch"):
        with rasterio.open(tmp_path / out / name / "mask.tif") as dataset:
            masks.append(dataset.read(1))
    assert (masks[1] == 1).sum() > 5000
    assert (masks[0] == masks[1]).mean() > 0.9999


def test_a_night_that_a_prefect_worker_starts_says_what_it_does(tmp_path, caplog):
    from flows.nightly.night import Nightly
    from flows.nightly.satellite import nightly

    with caplog.at_level(logging.NOTSET, logger="flows"):
        with pytest.raises(JobError):
            nightly.fn(Nightly(inbox="in", job=str(tmp_path / "none.yaml"), out=tmp_path))
        assert logging.getLogger("flows").isEnabledFor(logging.INFO)


def test_a_second_run_of_a_night_adds_to_the_first():
    items = [
        Input(id="a", files={}, site=None, date="2026-07-20"),
        Input(id="b", files={}),
        Input(id="w", files={}, error="waits for c", waits=True),
    ]
    night = after_run(
        Night(date="2026-07-21", job="j"),
        items,
        [SceneOutcome(scene="a", status="done"), SceneOutcome(scene="b", status="failed", error="x")],
        {"b"},
    )
    assert night.scenes == (
        NightScene(id="a", status="new", date="2026-07-20"),
        NightScene(id="b", status="failed", date=None, error="x"),
    )
    assert night.waiting == {"w": "waits for c"}
    after = after_run(
        night, items, [SceneOutcome(scene="a", status="skipped"), SceneOutcome(scene="b", status="done")], {"a", "b"}
    )
    assert {scene.id: scene.status for scene in after.scenes} == {"a": "new", "b": "superseded"}
    assert (
        after_run(
            after,
            items,
            [SceneOutcome(scene="a", status="skipped"), SceneOutcome(scene="b", status="skipped")],
            {"a", "b"},
        )
        == after
    )
    assert after_run(after, items, [SceneOutcome(scene="a", status="done")], {"a", "b"}).scenes[0].status == "new"
    assert Night.from_facts(json.loads(json.dumps(after.facts()))) == after


@pytest.mark.parametrize(
    ("last", "missed"),
    [
        (None, ()),
        ("2026-07-20", ()),
        ("2026-07-21", ()),
        ("2026-07-18", ("2026-07-19", "2026-07-20")),
        ("2026-08-01", ()),
    ],
)
def test_nights_between_two_runs_are_missed(last, missed):
    assert missed_nights(last, "2026-07-21") == missed


def test_without_rules_nothing_is_deleted(tmp_path):
    folder = tmp_path / ".products" / "a" / "key"
    folder.mkdir(parents=True)
    (tmp_path / "a").symlink_to(".products/a/key")
    assert prune(OutFolder(tmp_path), Retention(), {"a": "1999-01-01"}, "2026-07-21", "2026-07-21") == 0
    assert folder.is_dir()
    assert is_kept("1999-01-01", Retention(), "2026-07-21")
    rules = Retention(scenes_days=30)
    assert is_kept("2026-06-21", rules, "2026-07-21")
    assert not is_kept("2026-06-20", rules, "2026-07-21")
    assert is_kept(None, rules, "2026-07-21")


def retaining(source: dict[str, object], **nightly: object) -> Job:
    rules = {"retention": {"scenes_days": 30}, **nightly}
    return Job.model_validate(
        {"job": "j", "kind": "raster", "model": {"name": "threshold"}, "source": source, "nightly": rules}
    )


def test_eight_digits_of_an_id_are_a_date_only_where_the_job_says_so(tmp_path):
    for name in ("tile_20200101", "20200102-x"):
        (tmp_path / ".products" / name / "key").mkdir(parents=True)
        (tmp_path / name).symlink_to(f".products/{name}/key")
    names = ["tile_20200101", "20200102-x"]
    rules = Retention(scenes_days=30)
    undated = dates_of_products("in", retaining({}), [Input(id="tile_20200101", files={})], names)
    assert undated == {}
    assert prune(OutFolder(tmp_path), rules, undated, "2026-07-21", "2026-07-21") == 0
    dated = retaining({"dates": {"post": "{scene:%Y%m%d}"}})
    assert dates_of_products("in", dated, [], names) == {"tile_20200101": "2020-01-01", "20200102-x": "2020-01-02"}
    # As the listing says, which a table may have dated.
    assert dates_of_products("in", dated, [Input(id=names[0], files={}, site=None, date="2026-07-20")], names[:1]) == {
        "tile_20200101": "2026-07-20"
    }


def test_scenes_that_left_a_catalogue_have_the_date_at_the_end_of_their_ids():
    names = ["T_20190101_20260720", "by-hand_20260720x"]
    assert dates_of_products("sky/catalog.json", retaining({}), [], names) == {"T_20190101_20260720": "2026-07-20"}


def test_a_job_that_deletes_by_dates_it_does_not_have_is_refused_before_any_work(tmp_path):
    from flows.nightly.night import Nightly, run_night

    job = tmp_path / "greens.yaml"
    job.write_text(JOB.replace('  dates: {post: "{scene:%Y%m%d}"}\n', ""))
    (tmp_path / "in").mkdir()
    with pytest.raises(JobError, match=r"scenes_days: 30 .* Write source\.dates"):
        run_night(Nightly(inbox=str(tmp_path / "in"), job=str(job), out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    require_dates("https://sky.example/catalog.json", retaining({}))
    require_dates("scenes.csv", retaining({}))
    require_dates("in", retaining({}, retention={"superseded_days": 0}))


def test_the_server_is_told_of_a_night_what_its_page_says(tmp_path):
    from flows.display.artifacts import night_text

    scenes = (
        NightScene(id="A_1", status="new", date="2026-07-20", error=None, headline={"burned_ha": 12.5, "note": "a|b"}),
        NightScene(id="B", status="superseded", date=None, error=None, headline={"burned_ha": 3.0}),
        NightScene(id="C", status="failed", date=None, error="SceneError: <b>"),
    )
    night = Night(
        date="2026-07-21",
        job="fires",
        scenes=scenes,
        waiting={"w": "waits for x"},
        unchanged=4,
        missed=("2026-07-20",),
        alerts=("a fire",),
    )
    text = night_text(night, tmp_path)
    assert "**1** new, **1** superseded, **1** failed, **1** waiting, **4** unchanged" in text
    assert r"| A\_1 | new | 12.5 | a\|b |" in text
    assert "| B | superseded | 3 |  |" in text
    assert "| Scene | Status | Burned (ha) |" in text
    assert r"SceneError: \<b\>" in text
    for line in ("2026-07-20", "a fire", "waits for x"):
        assert line.replace("-", r"\-") in text
    assert "Nothing came." in night_text(Night(date="2026-07-22", job="fires"), tmp_path)
