"""Labels as polygons, RTSTRUCT and SEG, and scenes that are read window by window."""

from types import SimpleNamespace

import geopandas
import numpy as np
import pytest
import shapely
import torch
from dicoms import write_structures
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio import Affine
from scenes import write_raster, write_volume

from flows.training.fit import as_samples
from models.card import Card, ClassEntry, FixedNormalization, Network, Tiling
from models.training.fit import fit
from models.training.settings import TrainSettings
from tasks.errors import PolygonError, UnsupportedSceneError
from tasks.geometry.box import Box, split
from tasks.jobs.source import Source
from tasks.jobs.training import TrainingSource
from tasks.scenes.raster.scene import describe_raster
from tasks.scenes.volume.scene import describe_volume
from tasks.training import labelled
from tasks.training.labelled import read_labelled
from tasks.training.labels import open_labels

# 20 m in UTM zone 32, from where the helper puts rasters.
LEFT, TOP = 500_000, 5_000_000
SHAPE = (30, 40)
FIELDS = {
    "wheat": [(3.2, 2.1), (14.8, 4.4), (12.3, 17.6), (2.4, 13.9)],
    "maize": [(20.5, 8.3), (37.1, 10.2), (30.8, 27.4)],
}
CLASSES = {"wheat": 1, "maize": 2}


def described(name, folder, shape=SHAPE, **placed):
    image = np.random.default_rng(0).integers(1, 99, (2, *shape)).astype(np.uint8)
    path = write_raster(folder / f"{name}.tif", image, **placed)
    return describe_raster(name, {"file": str(path)}, Source(), ("1", "2"))


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return described("place", tmp_path_factory.mktemp("scene"))


def source(labels="fields.gpkg", **changes):
    return TrainingSource(folder="f", labels=labels, **changes)


def fields(path, crs=4326, **columns):
    """Write the fields, which are given as columns and rows of the scene."""
    rings = [shapely.Polygon([(LEFT + 20 * x, TOP - 20 * y) for x, y in ring]) for ring in FIELDS.values()]
    table = geopandas.GeoDataFrame(columns or {"crop": list(FIELDS)}, geometry=rings, crs=32632).to_crs(crs)
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_file(path)
    return path


def expected():
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    found = np.zeros(SHAPE, np.int32)
    for name, ring in FIELDS.items():
        found[shapely.contains_xy(shapely.Polygon(ring), cols, rows)] = CLASSES[name]
    return found


@pytest.mark.parametrize("crs", [4326, 32632, 3035])
@pytest.mark.parametrize("ending", ["geojson", "gpkg", "parquet"])
def test_a_pixel_has_the_class_of_the_polygon_that_holds_its_centre_in_whatever_crs(tmp_path, scene, ending, crs):
    path = fields(tmp_path / f"fields.{ending}", crs)
    labels = open_labels(path, scene, source(attribute="crop", classes=CLASSES))
    found = labels.read(Box.of_shape(SHAPE))
    np.testing.assert_array_equal(found, expected())
    for box in split(SHAPE, (7, 11)):
        np.testing.assert_array_equal(labels.read(box), found[box.slices])


def test_what_is_in_no_polygon_or_named_to_be_ignored_has_no_label(tmp_path, scene):
    path = fields(tmp_path / "fields.gpkg", number=[1.0, 7.0])
    whole = Box.of_shape(SHAPE)
    found = open_labels(path, scene, source(attribute="number", ignore=7, unmarked=None)).read(whole)
    np.testing.assert_array_equal(found, np.where(expected() == 1, 1, -1))
    np.testing.assert_array_equal(open_labels(path, scene, source()).read(whole), expected() > 0)


def test_polygons_that_cannot_be_laid_or_say_no_class_are_refused_by_name(tmp_path, scene):
    path = fields(tmp_path / "fields.gpkg")
    with pytest.raises(PolygonError, match=r"column 'crop' holds maize, of which training\.classes says no number"):
        open_labels(path, scene, source(attribute="crop", classes={"wheat": 1}))
    with pytest.raises(PolygonError, match=r"holds wheat, maize, .* It knows: whole numbers"):
        open_labels(path, scene, source(attribute="crop"))
    with pytest.raises(PolygonError, match=r"no column 'kind'.* It has: crop"):
        open_labels(path, scene, source(attribute="kind"))
    elsewhere = described("elsewhere", tmp_path, transform=Affine(20, 0, 600_000, 0, -20, TOP))
    with pytest.raises(PolygonError, match="none of its 2 polygons lies on elsewhere"):
        open_labels(path, elsewhere, source("{scene}.gpkg"))
    # Of a file for all scenes some may hold none.
    assert not open_labels(path, elsewhere, source("all.gpkg")).read(Box.of_shape(SHAPE)).any()
    unplaced = described("unplaced", tmp_path, crs=None)
    with pytest.raises(PolygonError, match="unplaced: has no CRS"):
        open_labels(path, unplaced, source())
    points = geopandas.GeoDataFrame(geometry=[shapely.Point(9, 45)], crs=4326)
    points.to_file(tmp_path / "points.gpkg")
    with pytest.raises(PolygonError, match="holds no polygons"):
        open_labels(tmp_path / "points.gpkg", scene, source())
    metres = shapely.box(LEFT, TOP, LEFT + 9, TOP + 9)
    feature = f'{{"type": "Feature", "properties": {{}}, "geometry": {shapely.to_geojson(metres)}}}'
    (tmp_path / "metres.geojson").write_text(f'{{"type": "FeatureCollection", "features": [{feature}]}}')
    with pytest.raises(PolygonError, match=r"5000\d\d\.0, 5000000\.0 are no degrees"):
        open_labels(tmp_path / "metres.geojson", scene, source())
    geopandas.GeoDataFrame(geometry=[metres]).to_parquet(tmp_path / "none.parquet")
    with pytest.raises(PolygonError, match="names no CRS"):
        open_labels(tmp_path / "none.parquet", scene, source())


@pytest.fixture
def volume(tmp_path):
    affine = np.array([[-2.0, 0, 0, 30], [0, -2.0, 0, 40], [0, 0, 3.0, -20], [0, 0, 0, 1]])
    image = np.random.default_rng(0).normal(size=(20, 16, 9)).astype(np.float32)
    path = write_volume(tmp_path / "image.nii.gz", image, affine)
    return describe_volume("patient", path, "SAR", (3.0, 2.0, 2.0), tmp_path), affine


def drawn(path, affine, contours):
    """Write contours given as slice, and rows and columns, on a volume whose columns run along its first axis."""
    to_voxels = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine @ to_voxels
    return write_structures(path, SimpleNamespace(study_uid="2.25.1", affine_lps_mm=lps), contours)


def test_structures_are_labels_of_a_volume(tmp_path, volume):
    scene, affine = volume
    square = np.array([(3.5, 4.5), (3.5, 9.5), (8.5, 9.5), (8.5, 4.5)])
    path = drawn(tmp_path / "rs.dcm", affine, {"GTV-1": [(2, square)], "Liver": [(4, square)], "Body": [(6, square)]})
    expected = np.zeros((20, 16, 9), np.int32)
    expected[5:10, 4:9, 2], expected[5:10, 4:9, 4] = 1, 2
    found = read_labelled(scene, path, 3, source("rs.dcm", classes={"^GTV": 1, "Liver": 2}))
    ((_, native),) = found.native_windows()
    np.testing.assert_array_equal(native, scene.turn.turn(expected))
    assert found.held.labels.shape == scene.frame.model_shape
    expected[5:10, 4:9, 6] = 3
    by_number = open_labels(path, scene, source("rs.dcm")).read(Box.of_shape(scene.frame.native_shape))
    np.testing.assert_array_equal(by_number, scene.turn.turn(expected))


def test_structures_that_are_not_there_or_overlap_are_refused_by_name(tmp_path, volume):
    scene, affine = volume
    square = np.array([(3.5, 4.5), (3.5, 9.5), (8.5, 9.5), (8.5, 4.5)])
    path = drawn(tmp_path / "rs.dcm", affine, {"GTV": [(2, square)], "PTV": [(2, square - 1)]})
    with pytest.raises(UnsupportedSceneError, match="none of 2 structures matches 'Liver'"):
        open_labels(path, scene, source("rs.dcm", classes={"Liver": 1}))
    with pytest.raises(UnsupportedSceneError, match=r"two classes overlap in 16 voxels .*training\.classes"):
        open_labels(path, scene, source("rs.dcm", classes={"GTV": 1, "PTV": 2}))


def card():
    return Card(
        name="small",
        title="Small",
        kind="raster",
        network=Network(name="unet", arguments={"widths": [4, 8]}),
        channels=("1", "2"),
        classes=tuple(ClassEntry(name=name, colour="#000000") for name in ("background", *CLASSES)),
        normalization=FixedNormalization(clip=((0, 99),) * 2, mean=(50, 50), std=(28, 28)),
        tiling=Tiling(tile=(16, 16), halo=(4, 4), overlap=(0, 0)),
        licence="Apache-2.0",
        origin="test",
    )


@pytest.mark.parametrize("unmarked", [0, None])
def test_a_scene_on_disk_is_fitted_as_one_in_memory(tmp_path, scene, monkeypatch, unmarked):
    monkeypatch.setattr(labelled, "_WINDOW", (7, 11))
    path = fields(tmp_path / "fields.gpkg")
    of = source(attribute="crop", classes=CLASSES, unmarked=unmarked)
    held, streamed = (read_labelled(scene, path, 3, of, hold=hold) for hold in (True, False))
    assert streamed.held is None
    assert held.pixels_sha256 == streamed.pixels_sha256
    assert held.is_labelled_whole == streamed.is_labelled_whole == (unmarked is not None)
    for number, places in streamed.places.items():
        marked = np.zeros(SHAPE, bool)
        marked[tuple(places.T)] = True
        np.testing.assert_array_equal(marked, held.held.labels == number)
    quick = TrainSettings(steps=3, batch=2, crop=(16, 16), precision="float32", threads=1, foreground=0, device="cpu")
    one, other = (fit(as_samples([each]), card(), quick) for each in (held, streamed))
    # Only which of the pixels are remembered in which order differs, where crops go by them.
    same = [torch.equal(value, other.state_dict[name]) for name, value in one.state_dict.items()]
    assert all(same) if unmarked is not None else other.history


@settings(max_examples=20)
@given(st.integers(1, 40), st.integers(0, 9))
def test_remembered_pixels_are_as_many_as_there_are_and_hold_their_class(n_kept, seed):
    marked = np.random.default_rng(seed).integers(-1, 3, SHAPE).astype(np.int32)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(labelled, "_REMEMBERED_PIXELS", n_kept)
        places = labelled._Places()
        for box in split(SHAPE, (9, 13)):
            places.look_at(marked[box.slices], box)
    for number, pixels in places.found.items():
        assert len(np.unique(pixels, axis=0)) == len(pixels) == min(n_kept, (marked == number).sum())
        assert (marked[tuple(pixels.T)] == number).all()
