from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import JobError
from tasks.inputs.earlier import paired
from tasks.inputs.input import Input
from tasks.inputs.listing import list_inputs
from tasks.jobs.job import load_job
from tasks.jobs.source import Pair

DATES = {"post": "{scene:%Y%m%d}"}
JOB = """
job: pairs
kind: raster
model: {name: threshold, arguments: {threshold: 0.1}}
source:
  files: {post: "{scene}.tif"}
  pair: {files: {pre: post}, days: [5, 60]}
  bands: {NIR: {file: post, band: 1}, NIR_pre: {file: pre, band: 1}}
  dates: {post: "{scene:%Y%m%d}"}
"""


def scene(site: str, day: int) -> Input:
    when = date(2026, 1, 1) + timedelta(days=day)
    name = f"{site}_{when:%Y%m%d}"
    return Input(id=name, files={"post": f"{name}.tif"}, site=None, date=when.isoformat())


@given(
    st.sets(st.tuples(st.sampled_from("AB"), st.integers(0, 90)), max_size=12),
    st.integers(1, 20),
    st.integers(0, 40),
    st.randoms(use_true_random=False),
)
def test_every_scene_gets_the_newest_scene_that_is_old_enough_whatever_the_order(keys, nearest, width, random):
    rule = Pair(files={"pre": "post"}, days=(nearest, nearest + width))
    items = [scene(*key) for key in sorted(keys)]
    random.shuffle(items)
    found = {item.id: item for item in paired(items, rule, DATES)}
    for site, day in keys:
        item = found[scene(site, day).id]
        days = [other for where, other in keys if where == site and nearest <= day - other <= nearest + width]
        if days:
            assert item.files["pre"] == scene(site, max(days)).files["post"]
            assert item.error is None
        else:
            assert item.waits
            assert "pre" not in item.files


@given(st.sets(st.integers(0, 60), max_size=10), st.sets(st.integers(0, 60)))
def test_a_scene_that_cannot_be_read_is_passed_over_for_the_next_older_one(days, damaged):
    items = [scene("A", day) for day in sorted(days)]
    files = {scene("A", day).files["post"] for day in damaged}

    def refusal(path: str) -> str | None:
        return f"{path}: damaged" if path in files else None

    found = {item.id: item for item in paired(items, Pair(files={"pre": "post"}, days=(5, 60)), DATES, refusal)}
    for day in days:
        item, older = found[scene("A", day).id], [other for other in days if other <= day - 5]
        if set(older) - damaged:
            assert item.files["pre"] == scene("A", max(set(older) - damaged)).files["post"]
            assert item.error is None
        elif older:
            assert not item.waits
            assert all(f"{scene('A', other).id} (" in item.error for other in older)
            assert not any(path in item.error for path in files)
        else:
            assert item.waits


@pytest.fixture
def job(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(JOB)
    return load_job(str(path))


def test_a_folder_is_paired_and_a_scene_without_an_earlier_one_says_what_there_is(tmp_path, job):
    for name in ("T32_20260701", "T32_20260720", "T32_20260723", "T33_20260720"):
        (tmp_path / f"{name}.tif").touch()
    found = {item.id: item for item in list_inputs([str(tmp_path)], job)}
    assert found["T32_20260720"].files["pre"] == str(tmp_path / "T32_20260701.tif")
    assert found["T32_20260723"].files["pre"] == str(tmp_path / "T32_20260701.tif")
    assert found["T33_20260720"].waits
    assert "5 to 60 days before 2026-07-20; earlier dates found: none" in found["T33_20260720"].error


def test_a_table_may_name_the_earlier_scene_itself(tmp_path, job):
    table = tmp_path / "scenes.csv"
    table.write_text("scene,post,pre,date\nA,a.tif,b.tif,2026-07-20\nB,c.tif,,2026-07-20\n")
    first, second = list_inputs([str(table)], job)
    assert first.files == {"post": str(tmp_path / "a.tif"), "pre": str(tmp_path / "b.tif")}
    assert second.waits


def test_a_scene_without_a_date_says_where_to_give_one(tmp_path, job):
    (tmp_path / "T32.tif").touch()
    (item,) = list_inputs([str(tmp_path)], job)
    assert "no date" in item.error
    assert "source.dates" in item.error
    assert not item.waits


@pytest.mark.parametrize(
    "wrong",
    [
        "pair.files={pre: pre}",
        "pair.files={post: post}",
        "pair.files={}",
        "pair.days=[9,3]",
        "pair.days=[0,3]",
        "files={other: '{scene}.tif'}",
    ],
)
def test_a_pair_that_cannot_be_is_an_error_of_the_job(tmp_path, wrong):
    path = tmp_path / "job.yaml"
    path.write_text(JOB)
    with pytest.raises(JobError, match="pair"):
        load_job(str(path), (f"source.{wrong}",))
