"""Pictures of one place and date in several items: all are used, pixel by pixel, and what items say of bands counts."""

import json
import pickle

import numpy as np
import pystac
import pytest
import rasterio
from catalogues import make_item, write_catalogue
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rasterio.transform import Affine
from scenes import write_raster

from tasks.errors import SceneError
from tasks.geometry.box import Box
from tasks.inputs.stac import stated_bands
from tasks.jobs.job import load_job
from tasks.jobs.source import BandSource, Source
from tasks.nights.arrivals import list_arrivals
from tasks.scenes.raster.scene import describe_raster
from tasks.scenes.stated import Stated, by_item, role_beneath
from tasks.verdict.check import check_inputs

SHAPE = (6, 7)
WHOLE = Box((0, 0), SHAPE)
SOURCE = Source.model_validate(
    {
        "bands": {"N": {"file": "nir", "band": 1}, "S": {"file": "swir", "band": 1}, "Q": {"file": "scl", "band": 1}},
        "invalid": {"band": "Q", "values": [9]},
    }
)
layers = hnp.arrays(np.uint16, (3, *SHAPE), elements=st.sampled_from([0, 4, 9, 200]))


def write_items(folder, items, shift=0):
    """Write nir, swir and scl of each item; 0 is no observation."""
    files = {}
    for number, values in enumerate(items):
        for role, band in zip(("nir", "swir", "scl"), values, strict=True):
            name = role_beneath(role, number)
            files[name] = str(write_raster(folder / f"{name}.tif", band[np.newaxis], nodata=0))
    return files


@settings(max_examples=30)
@given(st.lists(layers, min_size=1, max_size=3), st.integers(1, 5), st.integers(1, 6))
def test_a_pixel_is_that_of_the_first_picture_that_shows_it(tmp_path_factory, items, row, col):
    files = write_items(tmp_path_factory.mktemp("items"), items)
    scene = pickle.loads(pickle.dumps(describe_raster("s", files, SOURCE, ("N", "S"))))
    expected, observed, invalid = np.zeros((2, *SHAPE)), np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    for nir, swir, quality in items:
        here = (nir > 0) & (swir > 0) & ~observed
        expected[:, here] = np.stack([nir, swir])[:, here]
        invalid[here] = np.isin(quality[here], (0, 9))
        observed |= here
    with scene.open() as reader:
        image, seen = reader.read(WHOLE)
        assert np.array_equal(seen, observed)
        assert np.array_equal(image, expected)
        assert np.array_equal(reader.valid(WHOLE), observed & ~invalid)
        corner = Box((row, col), SHAPE)
        assert np.array_equal(reader.read(corner)[0], expected[:, row:, col:])


def test_roles_of_several_items_are_told_apart():
    names = [role_beneath(role, number) for number in (0, 1, 11) for role in ("a", "b")]
    assert by_item(names) == {0: ["a", "b"], 1: ["a", "b"], 11: ["a", "b"]}
    assert by_item(["file"]) == {0: ["file"]}


def test_halves_that_were_cut_out_of_a_tile_make_a_scene_of_both(tmp_path):
    """Each file holds its own half alone, so the scene's grid reaches as far as both."""
    whole = np.arange(1, 43, dtype=np.uint16).reshape(SHAPE)
    files = {}
    for number, rows in enumerate((slice(0, 4), slice(3, 6))):
        for role in ("nir", "swir", "scl"):
            path = write_raster(tmp_path / f"{role}{number}.tif", whole[np.newaxis, rows], nodata=0)
            with rasterio.open(path, "r+") as dataset:
                dataset.transform = Affine(20, 0, 500_000, 0, -20, 5_000_000 - 20 * rows.start)
            files[role_beneath(role, number)] = str(path)
    for first, second in ((0, 1), (1, 0)):
        given_files = {
            role_beneath(role, to): files[role_beneath(role, of)]
            for role in ("nir", "swir", "scl")
            for of, to in ((first, 0), (second, 1))
        }
        scene = describe_raster("s", given_files, SOURCE, ("N", "S"))
        assert scene.grid.shape == SHAPE
        assert scene.grid.affine == (20, 0, 500_000, 0, -20, 5_000_000)
        with scene.open() as reader:
            image, seen = reader.read(WHOLE)
        assert seen.all()
        assert np.array_equal(image[0], whole)


JOB = """
job: sky
kind: raster
model: {name: threshold, arguments: {features: N, threshold: 100}}
source:
  bands: {N: {file: nir, band: 1}, Q: {file: scl, band: 1}}
  invalid: {band: Q, values: [9]}
nightly: {stac: {assets: {nir: B8, scl: SCL}, lookback_days: 40}}
"""
UPPER, LOWER = np.zeros((1, *SHAPE), np.uint8), np.zeros((1, *SHAPE), np.uint8)
UPPER[:, :2], LOWER[:, 1:] = 50, 150


def put(folder, name, values, minute=0, day="2026-07-18", assets=("B8", "SCL"), **told):
    for key in ("B8", "SCL"):
        image = values if key == "B8" else np.full_like(values, 4)
        write_raster(folder / "s2" / name / f"{key}.tif", image, nodata=0)
    item = make_item(name, day, {key: f"./{key}.tif" for key in assets}, **told)
    item.datetime = item.datetime.replace(minute=minute)
    return item


@pytest.fixture
def job(tmp_path):
    path = tmp_path / "sky.yaml"
    path.write_text(JOB)
    return lambda *overrides: load_job(str(path), overrides)


def arrivals(folder, items, job):
    return list_arrivals(str(write_catalogue(folder, items)), job, "2026-07-21", None)


def test_halves_of_a_tile_in_two_items_are_one_scene_and_it_says_so(tmp_path, job):
    folder = tmp_path / "catalogue"
    items = [put(folder, "sliver", UPPER, 30, cloud=0.2), put(folder, "rest", LOWER, 31, cloud=4.0)]
    (item,) = arrivals(folder, items, job())
    assert {role: path.split("/")[-2] for role, path in item.files.items()} == {
        "nir": "sliver", "scl": "sliver", "nir@2": "rest", "scl@2": "rest",
    }  # fmt: skip
    (verdict,) = check_inputs([item], job(), ("N",))
    assert verdict.go
    assert any("sliver (0.2 % cloud), then rest (4 % cloud)" in warning for warning in verdict.warnings)
    with describe_raster(item.id, item.files, job().source, ("N",), item.stated).open() as reader:
        image, seen = reader.read(WHOLE)
    assert seen.all()
    assert image[0, :, 0].tolist() == [50, 50, 150, 150, 150, 150]


def test_editions_of_one_picture_are_not_laid_over_each_other(tmp_path, job):
    folder = tmp_path / "catalogue"
    items = [
        put(folder, "old", UPPER, updated="2026-07-18T00:00:00Z"),
        put(folder, "new", UPPER, updated="2026-07-19T00:00:00Z"),
    ]
    (item,) = arrivals(folder, items, job())
    assert [path.split("/")[-2] for path in item.files.values()] == ["new", "new"]
    assert item.remarks == ()


def test_halves_whose_footprints_say_nothing_are_told_apart_by_how_empty_they_are(tmp_path, job):
    folder = tmp_path / "catalogue"
    items = [put(folder, "sliver", UPPER, cloud=0.2), put(folder, "rest", LOWER, cloud=4.0)]
    for item, empty in zip(items, (92.0, 5.0), strict=True):
        item.properties["s2:nodata_pixel_percentage"] = empty
    (item,) = arrivals(folder, items, job())
    assert len(item.files) == 4


def test_an_item_that_lacks_a_file_is_passed_over_aloud_and_costs_the_other_nothing(tmp_path, job):
    folder = tmp_path / "catalogue"
    items = [put(folder, "rest", LOWER, cloud=0.0), put(folder, "broken", UPPER, 31, assets=("B8",), cloud=9.0)]
    (item,) = arrivals(folder, items, job())
    assert item.error is None
    assert set(item.files) == {"nir", "scl"}
    assert ["broken" in remark and "passed over" in remark for remark in item.remarks] == [True]


def test_an_earlier_scene_may_be_of_several_items_too(tmp_path, job):
    folder = tmp_path / "catalogue"
    items = [
        put(folder, "sliver", UPPER, 30, day="2026-07-01", cloud=0.0),
        put(folder, "rest", LOWER, 31, day="2026-07-01", cloud=4.0),
        put(folder, "now", np.full((1, *SHAPE), 7, np.uint8), day="2026-07-18"),
    ]
    paired = job("source.pair={files: {pre: nir}, days: [10, 30]}", "source.bands.P={file: pre, band: 1}")
    item = next(one for one in arrivals(folder, items, paired) if one.date == "2026-07-18")
    assert {role: path.split("/")[-2] for role, path in item.files.items()} == {
        "pre": "sliver", "pre@2": "rest", "nir": "now", "scl": "now",
    }  # fmt: skip
    with describe_raster(item.id, item.files, paired.source, ("N", "P"), item.stated).open() as reader:
        image, seen = reader.read(WHOLE)
    assert seen.all()
    assert image[:, :, 0].tolist() == [[7] * 6, [50, 50, 150, 150, 150, 150]]


def item_with(fields, properties=()):
    item = make_item("a", "2026-07-18", {"v": "./a.tif"})
    item.assets["v"].extra_fields.update(fields)
    item.properties.update(properties)
    return pystac.Item.from_dict(json.loads(json.dumps(item.to_dict())))


STATED = [
    ({"raster:bands": [{"scale": 1e-4, "offset": -0.1, "nodata": 0}]}, Stated(1e-4, -0.1, 0.0)),
    ({"raster:bands": [{"nodata": "nan"}, {"scale": 2}]}, Stated()),
    ({"bands": [{"name": "red", "raster:scale": 1e-4, "raster:offset": -0.1, "nodata": 7}]}, Stated(1e-4, -0.1, 7.0)),
    ({"raster:scale": 1e-4, "raster:offset": -0.1, "bands": [{"name": "red"}]}, Stated(1e-4, -0.1)),
    ({"nodata": 3}, Stated(nodata=3.0)),
]


@pytest.mark.parametrize(("fields", "expected"), STATED)
def test_what_an_item_says_of_a_band_is_found_in_either_version_of_the_extension(fields, expected):
    assert stated_bands(item_with(fields), "v")[0] == expected


def test_a_scale_of_zero_is_refused_whoever_says_it():
    with pytest.raises(SceneError, match="a scale of 0"):
        stated_bands(item_with({"raster:bands": [{"scale": 0}]}), "v")
    with pytest.raises(ValueError, match="'scale' is 0"):
        BandSource(band=1, scale=0)


def test_an_offset_that_is_applied_already_is_none():
    fields = {"raster:bands": [{"scale": 1e-4, "offset": -0.1}]}
    assert stated_bands(item_with(fields, {"earthsearch:boa_offset_applied": True}), "v") == (Stated(1e-4, None),)
    assert stated_bands(item_with({}), "v") == ()


def test_of_job_file_and_catalogue_the_one_before_counts(tmp_path):
    stated = {"": (Stated(1e-4, -0.1, 9.0),)}
    path = write_raster(tmp_path / "a.tif", np.array([[[3000, 9]]], np.uint16))

    def read(band, **told):
        source = Source.model_validate({"bands": {"V": {"band": 1, **band}}})
        with describe_raster("a", {"": str(path)}, source, ("V",), told.get("stated", stated)).open() as reader:
            image, seen = reader.read(Box((0, 0), (1, 2)))
        return image[0].tolist(), seen.tolist()

    assert read({}) == ([[pytest.approx(0.2), 0.0]], [[True, False]])
    assert read({"scale": 1e-3}) == ([[pytest.approx(2.9), 0.0]], [[True, False]])
    assert read({"offset": 0.0}) == ([[pytest.approx(0.3), 0.0]], [[True, False]])
    assert read({}, stated={}) == ([[3000, 9]], [[True, True]])
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets, dataset.nodata = (2.0,), (1.0,), 3000
    assert read({}) == ([[0.0, 19.0]], [[False, True]])


def test_a_job_gives_no_role_the_name_of_a_second_item(job):
    with pytest.raises(Exception, match="@"):
        job("source.files={nir@2: a.tif, scl: b.tif}", "nightly.stac=null")
