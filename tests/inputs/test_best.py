"""One scene per site and date: the one that arrived last, under the name of both."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import write_raster

from tasks.errors import JobError
from tasks.inputs.best import best_of
from tasks.inputs.input import Input
from tasks.inputs.listing import list_inputs
from tasks.jobs.job import load_job
from tasks.nights.arrivals import list_arrivals

JOB = """
job: best
kind: raster
model: {name: threshold, arguments: {threshold: 0.1}}
source:
  files: {post: "{scene}.tif"}
  dates: {post: "{scene:%Y%m%d}"}
nightly: {best: newest}
"""
S2 = "S2A_MSIL2A_20260720T101031_{}_R022_T32TQM_20260720T14000{}"
KEYS = st.tuples(st.sampled_from("AB"), st.sampled_from(["2026-07-19", "2026-07-20"]), st.integers(0, 5))


@pytest.fixture
def arrive(tmp_path):
    inbox = tmp_path / "in"
    inbox.mkdir()

    def put(*names: str) -> str:
        for second, name in enumerate(names):
            path = write_raster(inbox / f"{name}.tif", np.arange(16, dtype=np.uint8).reshape(1, 4, 4))
            os.utime(path, (second, second))
        return str(inbox)

    return put


def job(folder: Path, *overrides: str):
    path = folder / "best.yaml"
    path.write_text(JOB)
    return load_job(str(path), overrides)


def names(items: list[Input]) -> dict[str, list[str]]:
    return {item.id: [Path(path).stem for path in item.files.values()] for item in items}


@given(st.lists(KEYS, max_size=12, unique=True), st.randoms(use_true_random=False))
def test_of_each_site_and_date_the_best_stays_whatever_the_order(keys, random):
    items = [Input(id=f"{site}-{merit}-{day}", files={}, site=site, date=day) for site, day, merit in keys]
    random.shuffle(items)
    found = {(item.site, item.date): item.id for item in best_of(items, lambda item: item.id)}
    assert found.keys() == {(site, day) for site, day, _ in keys}
    assert all(name == f"{site}_{day.replace('-', '')}" for (site, day), name in found.items())


def test_what_cannot_be_used_or_has_no_date_stays_as_it_is():
    items = [
        Input(id="a", files={}, site="A"),
        Input(id="b", files={}, site="A", date="2026-07-20", error="x"),
        Input(id="c", files={}, site=None, date="2026-07-20"),
    ]
    assert best_of(items, lambda item: item.id) == items


def test_in_a_folder_the_one_that_arrived_last_counts_and_has_the_name_of_all(tmp_path, arrive):
    inbox = arrive("T32_20260720", "20260720_T32", "T33_20260720", "T32_20260721", "undated")
    found = names(list_arrivals(inbox, job(tmp_path), "2026-07-22", None))
    assert found == {
        "T32_20260720": ["20260720_T32"],
        "T33_20260720": ["T33_20260720"],
        "T32_20260721": ["T32_20260721"],
        "undated": ["undated"],
    }
    assert len(list_arrivals(inbox, job(tmp_path, "nightly.best=null"), "2026-07-22", None)) == 5


def test_the_site_is_found_in_long_names(tmp_path, arrive):
    inbox = arrive(S2.format("N0511", 1), S2.format("N0400", 2))
    chosen = job(tmp_path, r"source.site=_(T\d\d[A-Z]{3})_", r"source.dates.post='{scene:%Y%m%dT%H%M%S}'")
    assert names(list_arrivals(inbox, chosen, "2026-07-22", None)) == {"T32TQM_20260720": [S2.format("N0400", 2)]}
    assert {item.site for item in list_inputs([inbox], chosen)} == {"T32TQM"}
    other = job(tmp_path, "source.site=^(X)_")
    assert {item.site for item in list_inputs([inbox], other)} == {None}


def test_the_earlier_scene_of_a_pair_is_the_best_of_its_date(tmp_path, arrive):
    inbox = arrive("T32_20260701", "20260701_T32", "T32_20260720")
    paired = job(tmp_path, "source.pair={files: {pre: post}}")
    scenes = {item.id: item for item in list_arrivals(inbox, paired, "2026-07-22", None)}
    assert Path(scenes["T32_20260720"].files["pre"]).stem == "20260701_T32"


@pytest.mark.parametrize(("site", "why"), [("T32", "has no group"), ("(", "not a regular expression")])
def test_a_rule_for_sites_that_cannot_be_is_refused(tmp_path, site, why):
    with pytest.raises(JobError, match=rf"'source\.site'.*{why}"):
        job(tmp_path, f"source.site='{site}'")
