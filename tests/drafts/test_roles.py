"""Files of a scene are told by where they lie and what they are called, and no file is taken for another scene's."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.drafts.roles import below, find_roles
from tasks.inputs.naming import Pattern

SCENES = ("valley", "north-ridge", "A_2024-07-26", "t32")
LAYOUTS = {
    "a folder per role": ("{role}/{scene}.tif",),
    "a folder per role, which the names repeat": ("{role}/{scene}_{role}.tif",),
    "a folder per scene": ("{scene}/{role}.tif",),
    "a folder per scene, which the names repeat": ("{scene}/{scene}_{role}.tif",),
    "the role behind": ("{scene}_{role}.tif",),
    "the role before": ("{role}-{scene}.tif",),
}


def made(folder, names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return list(below(folder, (".tif", ".jp2", ".nii.gz")))


def found_by(patterns, folder):
    return {role: {s: [p.name for p in paths] for s, paths in Pattern(text).find_all(folder).items()}
            for role, text in patterns.items()}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scenes", [SCENES, SCENES[:2]], ids=["four", "two"])
@pytest.mark.parametrize("roles", [("post", "dnbr"), ("before", "after", "dem")], ids=["two", "three"])
def test_roles_are_found_in_every_usual_layout(tmp_path, layout, scenes, roles):
    (text,) = LAYOUTS[layout]
    files = made(tmp_path, [text.format(role=role, scene=scene) for scene in scenes for role in roles])
    roles_found = find_roles(tmp_path, files, lambda path: None)
    assert set(roles_found.patterns) == set(roles)
    assert roles_found.n_whole == roles_found.n_scenes == len(scenes)
    found = found_by(roles_found.patterns, tmp_path)
    assert {role: set(found[role]) for role in roles} == {role: set(scenes) for role in roles}


@pytest.mark.parametrize("labels", ["masks/{scene}.tif", "{scene}/label.tif", "{scene}_gt.tif"])
def test_labels_are_no_role(tmp_path, labels):
    pictures = {"masks": "images/{scene}.tif", "{scene}": "{scene}/image.tif", "{scene}_gt.tif": "{scene}_image.tif"}
    text = pictures[labels.split("/")[0]]
    files = made(tmp_path, [t.format(scene=scene) for scene in SCENES for t in (text, labels)])
    found = find_roles(tmp_path, files, lambda path: None)
    assert list(found.patterns.values()) == [text]
    assert found.labels == (labels,)


@given(names=st.sets(st.from_regex(r"[a-z]{1,6}(_[0-9]{1,8}){0,2}", fullmatch=True), min_size=1, max_size=6))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_files_that_share_nothing_are_scenes_of_their_own(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("flat")
    found = find_roles(folder, made(folder, [f"{name}.tif" for name in names]), lambda path: None)
    assert found.patterns == {}
    assert found.n_scenes == len(names)


def test_of_files_of_several_kinds_most_are_scenes_and_no_others(tmp_path):
    files = made(tmp_path, ["S2_20240101.tif", "S2_20240111.tif", "landcover.tif"])
    found = find_roles(tmp_path, files, lambda path: path.name.startswith("S2"))
    assert found_by(found.patterns, tmp_path) == {
        "image": {"20240101": ["S2_20240101.tif"], "20240111": ["S2_20240111.tif"]}
    }


# Files as they lie on disks of people who never saw swathe; the roles that they have, and one of the scenes.
FOUND = {
    "Sentinel-2, bands of one tile on two days": (
        [f"T32TQM_{day}T101031_{band}.tif" for day in (20240701, 20240801) for band in ("B04", "B08", "SCL")],
        {"B04", "B08", "SCL"},
        "T32TQM_20240701T101031",
    ),
    "Sentinel-2, bands of one scene, with resolutions": (
        [f"T32TQM_20240701T101031_{band}.jp2" for band in ("B04_10m", "B08_10m", "B12_20m", "TCI_10m", "AOT_10m")],
        {"B04_10m", "B08_10m", "B12_20m"},
        "T32TQM_20240701T101031",
    ),
    "Landsat, one scene with all that lies beside its bands": (
        [
            f"LC08_L2SP_042034_20240701_20240710_02_T1_{band}.TIF"
            for band in ("SR_B4", "SR_B5", "QA_PIXEL", "SR_QA_AEROSOL", "QA_RADSAT", "ST_EMIS", "ST_QA")
        ],
        {"SR_B4", "SR_B5", "QA_PIXEL"},
        "LC08_L2SP_042034_20240701_20240710_02_T1",
    ),
    "Landsat, in folders that somebody named": (
        [
            f"{place}/LC08_L2SP_0420{k}_20240701_20240710_02_T1_SR_{band}.TIF"
            for k, place in enumerate(("valley", "hill"))
            for band in ("B4", "B5")
        ],
        {"B4", "B5"},
        "valley",
    ),
    "a site on two days, in two roles": (
        [f"valley_{day}_{role}.tif" for day in (20240701, 20240801) for role in ("red", "nir")],
        {"red", "nir"},
        "valley_20240701",
    ),
    "patients in folders, the same files in each": (
        [
            f"STS_{k:03d}/{name}.nii.gz"
            for k in (2, 3, 8)
            for name in ("CT_image", "CT_mask", "MR_T1_image", "MR_T1_mask")
        ],
        {"CT_image", "MR_T1_image"},
        "STS_002",
    ),
    "nnU-Net, two channels": (
        [f"imagesTr/x_{k:03d}_{channel:04d}.nii.gz" for k in (1, 7) for channel in (0, 1)]
        + [f"labelsTr/x_{k:03d}.nii.gz" for k in (1, 7)],
        {"channel_0000", "channel_0001"},
        "x_001",
    ),
    "nnU-Net, one channel": ([f"imagesTs/x_{k:03d}_0000.nii.gz" for k in (1, 7)], {"imagesTs"}, "x_001"),
    "two days and their land cover in one folder": (
        ["derived/LULC.tif", "derived/S2_L1C_2015-08-30.tif", "derived/S2_L1C_2015-09-09.tif"],
        {"image"},
        "L1C_2015-08-30",
    ),
    "one raster in each folder, called otherwise": (["a/one.tif", "b/two.tif"], {"image"}, "one"),
    "parts of a data set, pictures and labels": (
        [
            f"{part}/{what}/{k}.tif"
            for part in ("train", "val")
            for what in ("images", "masks")
            for k in (f"{part}1", f"{part}2")
        ],
        {"image"},
        "val2",
    ),
}


@pytest.mark.parametrize("case", FOUND)
def test_roles_are_told_in_folders_of_strangers(tmp_path, case):
    names, roles, scene = FOUND[case]
    files = made(tmp_path, names)
    told = find_roles(
        tmp_path, [path for path in files if path.suffix != ".jp2"] or files, lambda path: "L1C" in path.name
    )
    assert set(told.patterns) == roles
    for found in found_by(told.patterns, tmp_path).values():
        assert scene in found
        assert all(len(paths) == 1 for paths in found.values())


@given(
    sites=st.sets(st.sampled_from(["valley", "ridge", "a1", "T32TQM", "north_field"]), min_size=1, max_size=3),
    days=st.sets(st.sampled_from(["20240701", "2024-07-11", "20240801T101031"]), min_size=1, max_size=2),
    bands=st.sets(st.sampled_from(["B04", "B08", "B8A", "red", "nir", "VV", "VH", "SCL"]), min_size=2, max_size=4),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bands_are_roles_whatever_sites_and_days_there_are(tmp_path_factory, sites, days, bands):
    folder = tmp_path_factory.mktemp("bands")
    files = made(folder, [f"{site}_{day}_{band}.tif" for site in sites for day in days for band in bands])
    told = find_roles(folder, files, lambda path: None)
    assert set(told.patterns) == bands
    assert told.n_whole == told.n_scenes == len(sites) * len(days)


@pytest.mark.parametrize("text", ["{site}_{date}.tif", "{date}_{site}.tif"])
def test_sites_and_dates_are_scenes_and_no_roles(tmp_path, text):
    names = [text.format(site=site, date=date) for site in ("valley", "hill") for date in ("20240101", "20240202")]
    found = find_roles(tmp_path, made(tmp_path, names), lambda path: None)
    assert (found.patterns, found.n_scenes) == ({}, 4)
