"""What an inbox holds tonight: whatever is wrong with a scene costs that scene only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from catalogues import make_item, write_catalogue
from hypothesis import given
from hypothesis import strategies as st
from scenes import write_raster

from tasks.errors import InboxError
from tasks.inputs.clashes import fail_clashes
from tasks.inputs.input import Input
from tasks.inputs.listing import list_inputs
from tasks.jobs.job import Job
from tasks.nights.arrivals import list_arrivals

TONIGHT = "2026-07-21"
DATES = {"post": "{scene:%Y%m%d}"}
PAIR = {"files": {"post": "{scene}.tif"}, "pair": {"files": {"pre": "post"}}, "dates": DATES}


def picture(path: Path) -> Path:
    return write_raster(path, np.random.default_rng(0).integers(1, 200, (1, 64, 64)).astype(np.uint8))


def cut_off(path: Path) -> None:
    data = picture(path).read_bytes()
    path.write_bytes(data[: len(data) // 2])


def job(nightly: dict | None = None, **source) -> Job:
    raw = {"job": "j", "kind": "raster", "model": {"name": "m"}, "source": source, "nightly": nightly or {}}
    return Job.model_validate(raw)


def arrivals(inbox: Path, of: Job) -> dict[str, Input]:
    found = list_arrivals(str(inbox), of, TONIGHT, None)
    assert len({item.id for item in found}) == len(found)
    return {item.id: item for item in found}


@pytest.fixture
def inbox(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from(["x", "y", "z"])), max_size=8))
def test_scenes_of_one_name_are_one_that_fails_and_the_others_stay(named):
    items = [Input(id=name, files={"file": f"{name}.{suffix}"}) for name, suffix in named]
    found = {item.id: item for item in fail_clashes(items, "Rename one")}
    for name in {name for name, _ in named}:
        files = {item.files["file"] for item in items if item.id == name}
        if len(files) == 1:
            assert found.pop(name) in items
        else:
            error = found.pop(name).error
            assert all(file in error for file in files)
            assert error.endswith("Rename one")
    assert found == {}


def test_two_files_of_one_name_cost_the_night_one_scene(inbox):
    for name in ("A_20260720.tif", "A_20260720.vrt", "B_20260720.tif"):
        (inbox / name).touch()
    found = arrivals(inbox, job(dates=DATES))
    assert found["B_20260720"].error is None
    clash = found["A_20260720"]
    assert f"{inbox / 'A_20260720.tif'} and {inbox / 'A_20260720.vrt'}. Keep one of them" in clash.error
    assert (clash.date, clash.waits) == ("2026-07-20", False)
    listed = {item.id: item.error for item in list_inputs([str(inbox)], job(dates=DATES))}
    assert "called 'A_20260720'" in listed["A_20260720"]
    assert listed["B_20260720"] is None


def test_the_rule_for_the_newest_says_which_of_two_files_of_one_name_counts(inbox):
    for name in ("A_20260720.tif", "A_20260720.vrt"):
        (inbox / name).touch()
    found = arrivals(inbox, job({"best": "newest"}, dates=DATES))
    assert {name: item.error for name, item in found.items()} == {"A_20260720": None}


def test_a_scene_whose_name_is_not_clear_is_no_earlier_one_of_another(inbox):
    for name in ("A_20260701.tif", "A_20260710.tif", "A 20260710.tif", "A_20260720.tif"):
        picture(inbox / name)
    found = arrivals(inbox, job(**PAIR))
    assert "A 20260710.tif" in found["A_20260710"].error
    assert Path(found["A_20260720"].files["pre"]).name == "A_20260701.tif"


def test_sites_that_ids_cannot_tell_apart_cost_their_scenes_only(tmp_path):
    names = {"slash": "A/1", "line": "A_1", "other": "B"}
    items = [make_item(name, "2026-07-20", {"B04": f"{name}.tif"}, site=site) for name, site in names.items()]
    write_catalogue(tmp_path / "catalogue", items)
    found = arrivals(tmp_path / "catalogue" / "catalog.json", job({"stac": {"assets": {"red": "B04"}}}))
    assert found.pop("B_20260720").error is None
    (clash,) = found.values()
    assert clash.id == "A_1_20260720"
    assert all(f"{name}.tif (site '{names[name]}')" in clash.error for name in ("slash", "line"))
    assert "nightly.stac.site" in clash.error


def test_items_of_one_name_that_cannot_be_used_are_told_of_together(tmp_path):
    items = [make_item("a", "2026-07-20", {"B03": "a.tif"}, site=site) for site in ("A/1", "A_1")]
    items[1].id = "b"
    write_catalogue(tmp_path / "catalogue", items)
    found = arrivals(tmp_path / "catalogue" / "catalog.json", job({"stac": {"assets": {"red": "B04"}}}))
    assert set(found) == {"A_1_20260720"}
    assert all(f"{name}: no asset 'B04'" in found["A_1_20260720"].error for name in "ab")


@pytest.mark.parametrize("source", [{}, {"files": {"post": "post_fire/{scene}.tif"}}])
def test_a_night_in_which_nothing_has_come_has_no_scene(inbox, source):
    assert arrivals(inbox, job(**source)) == {}
    (inbox / "post_fire").mkdir()
    (inbox / "B_20260720.tif.part").touch()
    assert arrivals(inbox, job(**source)) == {}
    (batch,) = list_inputs([str(inbox)], job(**source))
    assert "no scene found; looked for" in batch.error


def test_a_folder_of_dicom_is_no_quiet_night(inbox):
    (inbox / "1.dcm").touch()
    (item,) = arrivals(inbox, job()).values()
    assert "not readable as DICOM" in item.error


@pytest.mark.parametrize("absent", ["gone", "A_20260720.tif/in", "x" * 300])
def test_an_inbox_that_is_not_there_is_an_error_of_the_night(inbox, absent):
    (inbox / "A_20260720.tif").touch()
    with pytest.raises(InboxError, match="Check the path, and whether it is mounted"):
        arrivals(inbox / absent, job())


def test_an_inbox_may_be_a_table(inbox):
    (inbox / "t.csv").write_text("scene,file\nA,a.tif\n")
    assert set(arrivals(inbox / "t.csv", job())) == {"A"}


def test_a_cut_off_picture_costs_no_later_scene_and_is_named_in_the_log(inbox, caplog):
    picture(inbox / "A_20260701.tif")
    cut_off(inbox / "A_20260710.tif")
    picture(inbox / "A_20260720.tif")
    picture(inbox / "A_20260721.tif")
    (inbox / "B_20260701.tif").write_bytes(b"no picture")
    picture(inbox / "B_20260720.tif")
    found = arrivals(inbox, job(**PAIR))
    assert Path(found["A_20260720"].files["pre"]).name == "A_20260701.tif"
    assert Path(found["A_20260721"].files["pre"]).name == "A_20260720.tif"
    assert "A_20260720: passed over as its earlier scene: A_20260710 (UnreadableSceneError: " in caplog.text
    alone = found["B_20260720"]
    assert "no earlier scene can be read: B_20260701 (UnreadableSceneError: " in alone.error
    assert not alone.waits


def test_a_cut_off_file_of_a_catalogue_costs_no_later_scene(tmp_path):
    days = {"first": "2026-07-10", "second": "2026-07-15", "third": "2026-07-20"}
    folder = tmp_path / "catalogue"
    write_catalogue(folder, [make_item(name, day, {"B04": f"./{name}.tif"}) for name, day in days.items()])
    for name in ("first", "third"):
        picture(folder / "s2" / name / f"{name}.tif")
    cut_off(folder / "s2" / "second" / "second.tif")
    source = {"pair": {"files": {"pre": "red"}}}
    of = job({"stac": {"assets": {"red": "B04"}, "lookback_days": 30}}, **source)
    found = arrivals(folder / "catalog.json", of)
    assert Path(found["MGRS-32TQM_20260720"].files["pre"]).name == "first.tif"
