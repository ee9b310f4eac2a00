"""Laws of listing: every scene is found once, whole, under a safe name, and a bad one costs itself only."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import JobError, SceneError
from tasks.inputs.input import Input
from tasks.inputs.listing import list_inputs
from tasks.inputs.naming import Pattern, date_of, scene_id, stem_of
from tasks.jobs.job import Job

TWO_FILES = {"post": "post_fire/{scene}.tif", "dnbr": "dnbr/{scene}.tif"}


def job(kind="raster", **source):
    return Job.model_validate({"job": "j", "kind": kind, "model": {"name": "m"}, "source": source})


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def test_a_folder_is_matched_by_the_jobs_patterns(tmp_path):
    touch(tmp_path, "post_fire/B_2.tif", "post_fire/A_1.tif", "dnbr/A_1.tif", "dnbr/B_2.tif", "dnbr/notes.txt")
    found = list_inputs([str(tmp_path)], job(files=TWO_FILES))
    assert [item.id for item in found] == ["A_1", "B_2"]
    assert found[0].files == {
        "post": str(tmp_path / "post_fire/A_1.tif"),
        "dnbr": str(tmp_path / "dnbr/A_1.tif"),
    }


def test_a_scene_without_one_of_its_files_costs_itself_only(tmp_path):
    touch(tmp_path, "post_fire/A.tif", "dnbr/A.tif", "post_fire/B.tif")
    whole, broken = list_inputs([str(tmp_path)], job(files=TWO_FILES))
    assert whole.error is None
    assert "file 'dnbr' missing; expected dnbr/B.tif" in broken.error


@pytest.mark.parametrize("member", ["post_fire/A.tif", "dnbr/A.tif"])
def test_one_file_of_a_scene_names_the_others(tmp_path, monkeypatch, member):
    touch(tmp_path, "post_fire/A.tif", "dnbr/A.tif", "dnbr/B.tif", "post_fire/B.tif")
    (item,) = list_inputs([str(tmp_path / member)], job(files=TWO_FILES))
    assert item.id == "A"
    assert set(item.files) == {"post", "dnbr"}
    monkeypatch.chdir(tmp_path)
    (relative,) = list_inputs([member], job(files=TWO_FILES))
    assert relative.files == item.files


def test_a_folder_without_patterns_is_matched_by_kind(tmp_path):
    touch(tmp_path, "a.tif", "b.JP2", "c.txt", "d.nii.gz", "e.nii", "a.tif.aux.xml")
    assert [item.id for item in list_inputs([str(tmp_path)], job())] == ["a", "b"]
    assert [item.id for item in list_inputs([str(tmp_path)], job("volume"))] == ["d", "e"]


@pytest.mark.parametrize(("name", "told"), [("S2A.SAFE.zip", "unpack it"), ("case.hdr", "convert it to one .nii.gz")])
def test_a_folder_of_what_could_become_scenes_says_how(tmp_path, name, told):
    (found,) = list_inputs([str(touch(tmp_path, name))], job(kind="volume"))
    assert f"{name}: " in found.error
    assert told in found.error


def test_a_folder_of_damaged_dicom_is_refused_by_name(tmp_path):
    touch(tmp_path, "1.dcm")
    (item,) = list_inputs([str(tmp_path)], job("volume"))
    assert item.error.startswith("UnreadableSceneError: not readable as DICOM")
    (tmp_path / "1.dcm").rename(tmp_path / "IM0001")
    (tmp_path / "IM0001").write_bytes(bytes(128) + b"DICM")
    (item,) = list_inputs([str(tmp_path)], job("volume"))
    assert "not readable as DICOM" in item.error
    assert "IM0001" not in item.error


def test_a_table_names_scenes_sites_and_dates(tmp_path):
    (tmp_path / "t.csv").write_text(
        "scene,post,dnbr,site,date\nA,p/a.tif,https://x/d.tif,North,2024-01-02\nB,b.tif,,,\n"
    )
    first, second = list_inputs([str(tmp_path / "t.csv")], job(files=TWO_FILES))
    assert first.files == {"post": str(tmp_path / "p/a.tif"), "dnbr": "https://x/d.tif"}
    assert (first.site, first.date, first.error) == ("North", "2024-01-02", None)
    assert "no path under dnbr" in second.error


def test_a_table_without_its_columns_is_a_job_error(tmp_path):
    (tmp_path / "t.csv").write_text("name,post\nA,a.tif\n")
    with pytest.raises(JobError, match=r"column\(s\) scene, dnbr missing; found name, post"):
        list_inputs([str(tmp_path / "t.csv")], job(files=TWO_FILES))


def test_two_scenes_with_one_id_are_refused_by_both_names_and_cost_no_others(tmp_path):
    touch(tmp_path, "x/a.tif", "y/a.tif", "y/b.tif")
    clash, other = list_inputs([str(tmp_path / "x"), str(tmp_path / "y")], job())
    assert re.search(r"called 'a': .*x/a.tif and .*y/a.tif", clash.error)
    assert (clash.files, other.id, other.error) == ({}, "b", None)


def test_one_scene_named_twice_is_one_scene(tmp_path):
    touch(tmp_path, "a.tif")
    assert len(list_inputs([str(tmp_path), str(tmp_path / "a.tif")], job())) == 1


@pytest.mark.parametrize("text", ["/vsicurl/https://x/y/a.tif", "s3://bucket/a.tif", "https://x/a.tif?sig=1/2"])
def test_remote_paths_pass_through(text):
    (item,) = list_inputs([text], job())
    assert (item.id, list(item.files.values())) == ("a", [text])


def test_the_date_in_a_name_is_found():
    (item,) = list_inputs(["CAMPBELL_20241028.tif"], job(dates={"post": "{scene:%Y%m%d}"}))
    assert item.date == "2024-10-28"
    assert date_of("S2_2024-301_x", "{scene:%Y-%j}") == "2024-10-27"
    assert date_of("A_99999999_20240229", "{scene:%Y%m%d}") == "2024-02-29"
    assert date_of("no date", "{scene:%Y%m%d}") is None
    with pytest.raises(JobError, match="%Q"):
        date_of("x", "{scene:%Q}")


@given(st.text(min_size=1))
def test_an_id_is_a_plain_file_name_or_refused(name):
    try:
        identifier = scene_id(name)
    except SceneError:
        return
    assert identifier[0] not in ".-"
    assert all(c in "._-" or unicodedata.category(c)[0] in "LMN" for c in identifier)
    assert unicodedata.is_normalized("NFC", identifier)
    assert len(identifier.encode()) <= 200


def test_long_names_have_ids_of_their_own_that_leave_room_for_what_is_called_after_them():
    assert scene_id("x" * 200) == "x" * 200
    ids = {scene_id(letter * n + end) for letter in "x\u706b" for n in (120, 251) for end in "ab"}
    assert len(ids) == 8
    assert max(len(name.encode()) for name in ids) <= 200


@pytest.mark.parametrize("name", ["..", "a/b", "a\\b", "", "batch.csv"])
def test_unsafe_ids_are_refused(name):
    with pytest.raises(SceneError):
        scene_id(name)


def test_a_pattern_may_repeat_the_scene_and_hold_any_text(tmp_path):
    touch(tmp_path, "P1/P1_T1_x.nii.gz", "P1/P2_T1_x.nii.gz", "P2/P2_T1_.nii.gz")
    assert sorted(Pattern("{scene}/{scene}_T1_*.nii.gz").find_all(tmp_path)) == ["P1", "P2"]
    with pytest.raises(JobError, match=r"no \{scene\}"):
        Pattern("a.tif").scene_of("a.tif")


def test_stems_know_double_suffixes():
    assert [stem_of(name) for name in ("x/a.nii.gz", "a.b.tif", ".tif")] == ["a", "a.b", ".tif"]


def test_what_is_not_there_is_said_to_be_not_there(tmp_path):
    for name in ("nothing.tif", "folder/nothing.tif", "nothing"):
        (item,) = list_inputs([str(tmp_path / name)], job(files=TWO_FILES))
        assert item.error == f"{tmp_path / name}: no such file or folder. Check the path"


@pytest.mark.parametrize("day", ["junk", "2026-13-01", "20261119", "19.11.2026", "2026-11-19T03:00"])
def test_a_day_that_is_none_costs_its_row_alone(tmp_path, day):
    touch(tmp_path, "a.tif", "b.tif")
    (tmp_path / "t.csv").write_text(f"scene,file,date\na,a.tif,{day}\nb,b.tif,2026-11-19\n")
    wrong, right = list_inputs([str(tmp_path / "t.csv")], job())
    assert wrong.error == f"a: date '{day}' in the table is no date; write it like 2026-11-19"
    assert (right.error, right.date) == (None, "2026-11-19")


def test_every_name_of_a_files_scene_gives_way_to_the_id_once():
    item = Input(id="scene_1", files={"a": "/doe/1", "b": "/doe/1/x.tif"}, beside=("/roe/y.tif",))
    text = "/doe/1/x.tif, x.tif, /roe/y.tif and y.tif; 1"
    assert item.pseudonymised(text) == "scene_1, scene_1, scene_1 and scene_1; scene_1"
    assert Input(id="scene_1", files={}).pseudonymised(text) == text
