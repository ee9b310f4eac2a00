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
    return list(below(folder, (".tif",)))


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


@pytest.mark.parametrize("text", ["{site}_{date}.tif", "{date}_{site}.tif"])
def test_sites_and_dates_are_scenes_and_no_roles(tmp_path, text):
    names = [text.format(site=site, date=date) for site in ("valley", "hill") for date in ("20240101", "20240202")]
    found = find_roles(tmp_path, made(tmp_path, names), lambda path: None)
    assert (found.patterns, found.n_scenes) == ({}, 4)
