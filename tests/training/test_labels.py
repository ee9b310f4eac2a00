"""Labels of training scenes: what is no label, and labels that do not go with their scene."""

import numpy as np
import pytest
import rasterio
from rasterio import Affine
from scenes import write_raster

from tasks.errors import GridError, SceneError
from tasks.geometry.box import Box
from tasks.jobs.source import Source
from tasks.jobs.training import TrainingSource
from tasks.scenes.raster.scene import describe_raster
from tasks.training.labelled import read_labelled
from tasks.training.labels import UNLABELLED


def source(labels="labels.tif", **changes):
    return TrainingSource(folder="f", labels=labels, **changes)


@pytest.fixture
def scene(tmp_path):
    image = np.random.default_rng(0).integers(1, 99, (1, 12, 9)).astype(np.uint8)
    path = write_raster(tmp_path / "image.tif", image)
    return describe_raster("place", {"file": str(path)}, Source(), ("1",))


def labels(tmp_path, **changes):
    values = np.zeros((1, 12, 9), np.uint8)
    values[0, :5], values[0, 5:8] = 1, 255
    return write_raster(tmp_path / "labels.tif", values, **changes)


def test_what_a_job_ignores_is_no_class_and_does_not_count(scene, tmp_path):
    found = read_labelled(scene, labels(tmp_path), 2, source(ignore=255))
    expected = np.zeros((12, 9), bool)
    expected[5:8] = True
    np.testing.assert_array_equal(found.labels.read(Box.of_shape((12, 9))) == UNLABELLED, expected)
    np.testing.assert_array_equal(found.held.labels == UNLABELLED, expected)
    assert found.held.valid.all()
    with pytest.raises(SceneError, match=r"hold 0, 1, 255; .*training\.ignore"):
        read_labelled(scene, labels(tmp_path), 2, source())


def test_labels_on_another_grid_or_in_another_crs_are_refused(scene, tmp_path):
    moved = labels(tmp_path)
    with rasterio.open(moved, "r+") as dataset:
        dataset.transform = dataset.transform @ Affine.translation(1, 0)
    with pytest.raises(GridError, match=r"place: labels .* lie on another grid .*Resample"):
        read_labelled(scene, moved, 2, source(ignore=255))
    with pytest.raises(GridError, match="UTM zone 33N"):
        read_labelled(scene, labels(tmp_path, crs="EPSG:32633"), 2, source(ignore=255))
    small = write_raster(tmp_path / "small.tif", np.zeros((1, 12, 8), np.uint8))
    with pytest.raises(GridError, match="12 x 8 pixels"):
        read_labelled(scene, small, 2, source())


def test_labels_without_a_place_lie_where_their_scene_does(scene, tmp_path):
    found = read_labelled(scene, labels(tmp_path, crs=None), 2, source(ignore=255))
    assert (found.held.labels == 1).sum() == 45


def test_labels_that_say_nothing_are_refused(scene, tmp_path):
    empty = write_raster(tmp_path / "empty.tif", np.full((1, 12, 9), 255, np.uint8), nodata=255)
    with pytest.raises(SceneError, match="say nothing"):
        read_labelled(scene, empty, 2, source())
