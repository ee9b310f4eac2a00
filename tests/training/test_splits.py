"""Scenes that are held back have nothing in common with those that are fitted."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rasterio.warp import Resampling, calculate_default_transform, reproject
from scenes import write_raster

from tasks.errors import JobError, LeakError
from tasks.jobs.source import Source
from tasks.jobs.training import TrainingSource
from tasks.scenes.raster.header import gdal_env, open_raster
from tasks.scenes.raster.scene import describe_raster
from tasks.training.labelled import read_labelled
from tasks.training.splits import Split

CWFID = Path(__file__).parents[3] / "shared/data/satellite-crop/cwfid"


@pytest.fixture
def scene(tmp_path):
    def read(name, path, site=None, content=None):
        with gdal_env(), open_raster(str(path)) as dataset:
            shape, channels = dataset.shape, tuple(str(number) for number in dataset.indexes)
        described = describe_raster(name, {"file": str(path)}, Source(), channels)
        labels = write_raster(tmp_path / "labels" / f"{name}.tif", np.zeros((1, *shape), np.uint8), crs=None)
        found = read_labelled(described, labels, 2, TrainingSource(folder="f", labels="l"))
        return replace(found, site=site or name, files_sha256=(content or name,))

    return read


def raster(folder, name, seed, affine=(30, 0, 500_000, 0, -30, 4_000_000), crs="EPSG:32633", shape=(20, 20)):
    image = np.random.default_rng(seed).integers(1, 99, (1, *shape)).astype(np.uint8)
    return write_raster(folder / f"{name}.tif", image, transform=rasterio.Affine(*affine), crs=crs)


def split(scenes, **source):
    return Split.of("job", scenes, TrainingSource(folder="f", labels="l", **source))


def warped(path, crs, to):
    with rasterio.open(path) as dataset:
        transform, cols, rows = calculate_default_transform(
            dataset.crs, crs, dataset.width, dataset.height, *dataset.bounds
        )
        image = np.zeros((1, rows, cols), np.uint8)
        reproject(
            dataset.read(), image, src_transform=dataset.transform, src_crs=dataset.crs, dst_transform=transform,
            dst_crs=crs, resampling=Resampling.bilinear,
        )  # fmt: skip
    return write_raster(to, image, transform=transform, crs=crs)


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:4326", "EPSG:3035", "ESRI:54009"])
def test_ground_that_two_scenes_cover_is_refused_in_whatever_crs(tmp_path, scene, crs):
    first = raster(tmp_path, "first", 0)
    scenes = [scene("first", first), scene("second", warped(first, crs, tmp_path / "second.tif"))]
    with pytest.raises(LeakError, match=r"first and second .* ground that both cover.*split_by: place"):
        split(scenes, held=["second"])
    with pytest.raises(LeakError, match=r"fold 0"):
        split(scenes).folds(2, 0)


def test_ground_across_the_antimeridian_is_the_same_ground(tmp_path, scene):
    east = raster(tmp_path, "east", 0, affine=(0.01, 0, 179.9, 0, -0.01, 10), crs="EPSG:4326")
    west = raster(tmp_path, "west", 1, affine=(0.01, 0, -180.05, 0, -0.01, 10), crs="EPSG:4326")
    with pytest.raises(LeakError, match=r"ground that both cover"):
        split([scene("east", east), scene("west", west)], held=["east"])


def test_scenes_that_only_touch_are_apart_and_places_stay_together(tmp_path, scene):
    # In a row, 20 pixels long, the last two of them on the same ground.
    starts = [500_000, 500_600, 501_200, 501_500]
    scenes = [
        scene(f"s{k}", raster(tmp_path, f"s{k}", k, affine=(30, 0, x, 0, -30, 4_000_000))) for k, x in enumerate(starts)
    ]
    assert split(scenes[:3], held=["s1"]).names == ("s0", "s2")
    together = split(scenes, split_by="place")
    assert together.groups == (("s0",), ("s1",), ("s2", "s3"))
    assert sorted(together.folds(3, 0)) == [("s0",), ("s1",), ("s2", "s3")]
    with pytest.raises(ValueError, match=r"3 groups of scenes that belong together cannot be split into 4"):
        together.folds(4, 0)
    with pytest.raises(LeakError, match=r"s2 and s3"):
        split(scenes, held=["s3"], split_by="place")


def test_a_patient_or_place_of_two_dates_is_on_one_side(tmp_path, scene):
    far = [raster(tmp_path, f"s{k}", k, affine=(30, 0, 5e5 + 1e5 * k, 0, -30, 4e6)) for k in range(3)]
    scenes = [scene(f"s{k}", path, site=f"site-{k // 2}") for k, path in enumerate(far)]
    with pytest.raises(LeakError, match=r"s0 and s1 .* the same place, 'site-0'"):
        split(scenes).folds(3, 0)
    assert sorted(split(scenes, split_by="place").folds(2, 0)) == [("s0", "s1"), ("s2",)]


def test_the_same_bytes_or_pixels_under_another_name_are_refused(tmp_path, scene):
    first = raster(tmp_path, "first", 0, crs=None)
    with rasterio.open(first) as dataset:
        image = dataset.read()
    other = write_raster(tmp_path / "other.tif", image, crs=None, compress="deflate")
    assert first.read_bytes() != other.read_bytes()
    third = raster(tmp_path, "third", 3, crs=None)
    with pytest.raises(LeakError, match=r"first and other .* the same pixels.*training.exclude"):
        split([scene("first", first), scene("other", other), scene("third", third)], held=["other"])
    with pytest.raises(LeakError, match=r"the same bytes in a file"):
        split(
            [scene("first", first, content="x"), scene("third", third, content="x")], split_by="place", held=["third"]
        )
    assert split([scene("first", first), scene("third", third)], held=["third"]).names == ("first",)


def test_what_is_held_is_there_and_is_not_fitted(tmp_path, scene):
    scenes = [scene(f"s{k}", raster(tmp_path, f"s{k}", k, crs=None)) for k in range(3)]
    with pytest.raises(LeakError, match=r"s1 in training.held and in training.fitted"):
        split(scenes, held=["s1", "s2"], fitted=["s0", "s1"])
    with pytest.raises(JobError, match=r"'training.held' names s9"):
        split(scenes, held=["s9"])
    with pytest.raises(JobError, match=r"leaves nothing to fit on"):
        split(scenes, held=["s0", "s1", "s2"])
    assert split(scenes, held=["s1"], fitted=["s0"]).names == ("s0",)


@pytest.mark.skipif(not CWFID.exists(), reason="the photographs of ../shared are not here")
def test_the_split_that_cwfid_publishes_has_a_picture_on_both_sides(tmp_path, scene):
    # Picture 028 stands in both lists of its train_test_split.yaml; here the sixth stands for it.
    names = [f"{number:03}" for number in range(1, 7)]
    scenes = [scene(name, CWFID / f"{name}_image.png") for name in names]
    assert len(split(scenes, held=names[:2]).names) == 4
    with pytest.raises(LeakError, match=r"006 in training.held and in training.fitted"):
        split(scenes, fitted=[*names[:3], "006"], held=["004", "005", "006"])
    # Under another name, and as another file.
    Image.open(CWFID / "006_image.png").save(tmp_path / "028_image.tif")
    copied = shutil.copy(CWFID / "006_image.png", tmp_path / "029_image.png")
    for name, path in (("028", tmp_path / "028_image.tif"), ("029", copied)):
        with pytest.raises(LeakError, match=rf"006 and {name} .* the same pixels"):
            split([*scenes, scene(name, path)], held=[name])


@settings(max_examples=40)
@given(st.lists(st.integers(1, 4), min_size=2, max_size=12), st.integers(0, 5), st.data())
def test_folds_part_all_names_by_whole_groups(sizes, seed, data):
    groups = tuple(tuple(f"{group}-{k}" for k in range(size)) for group, size in enumerate(sizes))
    names = tuple(name for group in groups for name in group)
    made = Split(names, (), groups, ())
    folds = made.folds(data.draw(st.integers(2, len(groups))), seed)
    assert sorted(name for fold in folds for name in fold) == sorted(names)
    for group in groups:
        assert sum(bool(set(group) & set(fold)) for fold in folds) == 1
    if set(sizes) == {1}:
        assert max(map(len, folds)) - min(map(len, folds)) <= 1
    watched = set(made.watched(names, 0.3, seed))
    assert 0 < len(watched) < len(names)
    assert all(set(group) <= watched or not set(group) & watched for group in groups)


@pytest.mark.parametrize("k", [0, 1, 4])
def test_too_many_or_too_few_folds_are_refused(k):
    with pytest.raises(ValueError, match=r"take 2 to 3"):
        Split(("a", "b", "c"), (), (("a",), ("b",), ("c",)), ()).folds(k, 0)
