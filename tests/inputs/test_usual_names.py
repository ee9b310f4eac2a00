"""Names: letters of every script stay, hidden files are none, and providers' names say where and when."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import write_raster

from tasks.analysis.masks.names import ids_of_masks
from tasks.inputs.listing import list_inputs
from tasks.inputs.naming import dates_of, first_date, observation_id, scene_id, site_of, stem_of
from tasks.jobs.job import Job
from tasks.nights.arrivals import list_arrivals
from tasks.out.folder import site_folder
from tasks.scenes.usual_names import usual_name

USUAL = {
    "S2A_MSIL2A_20240726T183921_N0511_R070_T11SKA_20240726T233000": ("T11SKA", "2024-07-26"),
    "S2A_MSIL1C_20210726T183921_N0301_R070_T11SKA_20210727T003000.SAFE": ("T11SKA", "2021-07-26"),
    "T11SKA_20240726T183921_B8A_20m": ("T11SKA", "2024-07-26"),
    "S2B_10SGF_20240808_0_L2A": ("T10SGF", "2024-08-08"),
    "S2B_T10SGF_20240808_1_L2A": ("T10SGF", "2024-08-08"),
    "S2A_5VNK_20240808_0_L2A": ("T05VNK", "2024-08-08"),
    "HLS.S30.T11SKA.2024208T183921.v2.0": ("T11SKA", "2024-07-26"),
    "HLS.L30.T11SKA.2024208T183921.v2.0.B05": ("T11SKA", "2024-07-26"),
    "LC08_L2SP_042034_20240701_20240710_02_T1": ("042034", "2024-07-01"),
    "LC09_L1TP_042034_20240717_20240723_02_RT_SR_B4": ("042034", "2024-07-17"),
    "LE07_CU_003010_20010620_20210425_02": ("CU_003010", "2001-06-20"),
    "LC80420342016183LGN00": ("042034", "2016-07-01"),
    "MOD09GA.A2024183.h08v05.061.2024185031522": ("h08v05", "2024-07-01"),
    "MCD64A1.A2024183.h08v05.061.2024251001519": ("h08v05", "2024-07-01"),
    "MYD14.A2024183.2105.061.2024184": ("MYD14", "2024-07-01"),
    "VNP09GA.A2024183.h08v05.002.2024184080735": ("h08v05", "2024-07-01"),
    "VNP14IMG.A2024183.2106.002.2024184023411": ("VNP14IMG", "2024-07-01"),
    "VJ114IMG.A2024183.2106.002": ("VJ114IMG", "2024-07-01"),
    "20240726_183921_75_24b7_3B_AnalyticMS_SR_8b_clip": ("PSScene", "2024-07-26"),
    "20160831_180302_0e26": ("PSScene", "2016-08-31"),
    "4749583_1056416_2024-07-26_241d_BGRN_SR": ("1056416", "2024-07-26"),
    "S2A_MSIL2A_20240726T183921_R070_T11SKA_20240727T013000": ("T11SKA", "2024-07-26"),
    "L2A_T11SKA_A047482_20240726T184512": ("T11SKA", "2024-07-26"),
    "S2A_T11SKA_20240726T184512_L2A": ("T11SKA", "2024-07-26"),
    "HLS.S30.T11SKA.2024208.v1.4": ("T11SKA", "2024-07-26"),
    "LC08_L2SP_042034_20240701_02_T1": ("042034", "2024-07-01"),
}
# What looks like one and is none.
OTHERS = [
    "CREEK_20240726",
    "20240726_183921",
    "CREEK_20240726_183921_cafe",
    "LC08_042034",
    "T11SKA",
    "A2024183",
    "NoLC08_L2SP_042034_20240701_20240710_02_T1",
    "MOD09GA.A2024400.h08v05.061",
    "IMG_20240726_183921",
    "1056416_2024-07-26",
]


@pytest.mark.parametrize("name", USUAL)
def test_names_of_usual_products_give_site_and_date_by_themselves(name):
    found = usual_name(name)
    assert (found.site, found.date) == USUAL[name]
    identifier = scene_id(name)
    assert (site_of(identifier, {}), first_date(identifier, {})) == USUAL[name]
    # Words before and behind, as clipping and segmenting leave them.
    assert usual_name(f"clip_{name}_mask") in (found, None)


@pytest.mark.parametrize("name", OTHERS)
def test_other_names_give_nothing_by_themselves(name):
    assert usual_name(name) is None
    assert dates_of(name, {}) == {}


def test_what_a_job_says_of_dates_comes_first():
    name = "LC08_L2SP_042034_20240701_20240710_02_T1"
    assert dates_of(name, {"made": "T1{scene:%Y}", "sensed": "{scene:%Y%m%d}"}) == {"sensed": "2024-07-01"}
    assert dates_of("MOD09GA.A2024183.h08v05.061", {"post": "{scene:%Y%m%d}"}) == {"post": "2024-07-01"}


def job(**source):
    pair = {"files": {"post": "{scene}.tif"}, "pair": {"files": {"pre": "post"}, "days": [10, 60]}}
    return Job.model_validate({"job": "j", "kind": "raster", "model": {"name": "m"}, "source": {**pair, **source}})


def test_passes_of_one_path_and_row_are_paired_without_a_word_about_sites(tmp_path):
    for sensed, made in (("20240701", "20240710"), ("20240717", "20240723")):
        (tmp_path / f"LC08_L2SP_042034_{sensed}_{made}_02_T1.tif").touch()
    later = next(item for item in list_inputs([str(tmp_path)], job()) if item.date == "2024-07-17")
    assert later.error is None
    assert "20240701" in later.files["pre"]


def test_a_scene_that_waits_for_one_of_its_site_says_which_setting_makes_the_site(tmp_path):
    for name in ("a_one_20240701.tif", "b_one_20240717.tif"):
        write_raster(tmp_path / name, np.arange(16, dtype=np.uint8).reshape(1, 4, 4))
    dates = {"post": "{scene:%Y%m%d}"}
    waiting = list_arrivals(str(tmp_path), job(dates=dates), "2024-08-01", None)
    assert all(item.waits and "source.site" in item.error for item in waiting)
    write_raster(tmp_path / "a_one_20240710.tif", np.arange(16, dtype=np.uint8).reshape(1, 4, 4))
    waiting = list_arrivals(str(tmp_path), job(dates=dates), "2024-08-01", None)
    texts = {item.id: item.error for item in waiting}
    assert "source.pair.days" in texts["a_one_20240710"]
    sited = list_arrivals(str(tmp_path), job(dates=dates, site="_(one)_"), "2024-08-01", None)
    assert {item.id: item.error for item in sited}["b_one_20240717"] is None


NAMES = {
    name: name for name in ("Киев", "Рига", "Möller", "Müller", "张伟", "東京_20240801", "हिन्दी", "عربى", "a.b-c")
} | {
    "a b": "a_b",
    "tile#3": "tile_3",
    "why?": "why_",
    "100%": "100_",
    "a[1]": "a_1_",
    "quote'\"": "quote__",
    "new\nline": "new_line",
    "\u202eevil": "_evil",
    "-dash": "dash",
    "._x": "_x",
    "\U0001f525": "_",
}


@pytest.mark.parametrize("name", NAMES)
def test_ids_keep_the_letters_of_every_script(name):
    assert scene_id(name) == NAMES[name]
    assert scene_id(unicodedata.normalize("NFD", name)) == unicodedata.normalize("NFC", NAMES[name])


@given(st.text(min_size=1, max_size=30).filter(lambda name: not set("/\\") & set(name) and name not in (".", "..")))
def test_an_id_is_a_safe_file_name_and_its_own_id(name):
    identifier = scene_id(name + "x")
    assert scene_id(identifier) == identifier
    assert not identifier.startswith((".", "-"))
    assert all(unicodedata.category(letter)[0] in "LMN" or letter in "._-" for letter in identifier)
    assert site_folder(identifier) == identifier
    assert observation_id(identifier, "2024-01-02") == f"{identifier}_20240102"


def test_scenes_in_any_script_are_told_apart_and_a_clash_costs_its_own(tmp_path):
    plain = Job.model_validate({"job": "j", "kind": "raster", "model": {"name": "m"}})
    for name in ("Киев", "Рига", "张伟", "李娜", "a b", "a_b", unicodedata.normalize("NFD", "Möller"), "Müller"):
        (tmp_path / f"{name}.tif").touch()
    found = {item.id: item.error for item in list_inputs([str(tmp_path)], plain)}
    assert {name for name, error in found.items() if error is None} == {
        "Киев",
        "Рига",
        "张伟",
        "李娜",
        "Möller",
        "Müller",
    }
    assert "a_b" in found["a_b"]
    ids = ids_of_masks([str(tmp_path / f"{name}.tif") for name in ("Киев", "Рига", "a b", "a_b")])
    assert ids[:2] == ["Киев", "Рига"]
    assert len(set(ids)) == 4


@pytest.mark.parametrize("files", [{}, {"post": "{scene}.tif"}, {"post": "*/{scene}.tif"}])
def test_hidden_files_are_no_scenes(tmp_path, files):
    folder = tmp_path / "deep" if "*" in str(files) else tmp_path
    folder.mkdir(exist_ok=True)
    for name in ("a.tif", "._a.tif", ".hidden.tif", "~$lock.tif"):
        (folder / name).touch()
    (tmp_path / ".trash").mkdir()
    (tmp_path / ".trash" / "b.tif").touch()
    plain = Job.model_validate({"job": "j", "kind": "raster", "model": {"name": "m"}, "source": {"files": files}})
    assert [item.id for item in list_inputs([str(tmp_path)], plain)] == ["a", "__lock"]


def test_a_question_mark_is_part_of_a_files_name_and_the_end_of_a_urls():
    assert stem_of("in/run?a=1.tif") == "run?a=1"
    assert stem_of("https://x.org/run.tif?a=1") == "run"
    assert stem_of("/vsicurl/https://x.org/run.tif?a=1") == "run"
