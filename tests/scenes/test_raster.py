"""Laws of raster scenes: any read equals the same cut of the whole; what is not observed is never data."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.shutil import copy
from rasterio.transform import from_origin

from tasks.errors import BandError, UndeclaredError, UnreadableSceneError, UnsupportedSceneError
from tasks.geometry.box import Box
from tasks.geometry.raster_grid import RasterGrid
from tasks.jobs.source import Source
from tasks.scenes.raster.scene import describe_raster, fingerprint

DATA = Path(os.environ.get("SWATHE_SAMPLES", Path(__file__).parents[3] / "shared" / "data"))
UTM = "EPSG:32633"
LAW = settings(max_examples=25)


def write(path, bands, transform=None, crs=UTM, descriptions=(), nodata=None, **profile):
    bands = np.asarray(bands)
    transform = transform or from_origin(500_000, 5_000_000, 10, 10)
    options = {"driver": "GTiff", "height": bands.shape[1], "width": bands.shape[2], "count": bands.shape[0]}
    with rasterio.open(
        path, "w", dtype=bands.dtype, crs=crs, transform=transform, nodata=nodata, **options, **profile
    ) as dataset:
        dataset.write(bands)
        for number, text in enumerate(descriptions, start=1):
            dataset.set_band_description(number, text)
    return str(path)


def whole(scene):
    with scene.open() as reader:
        box = Box.of_shape(scene.grid.shape)
        return (*reader.read(box), reader.valid(box))


def windows(shape):
    def edge(n):
        return st.tuples(st.integers(0, n - 1), st.integers(1, n)).map(
            lambda pair: (pair[0], min(n, pair[0] + pair[1]))
        )

    return st.tuples(edge(shape[0]), edge(shape[1])).map(lambda e: Box((e[0][0], e[1][0]), (e[0][1], e[1][1])))


@pytest.fixture(scope="module")
def mixed_scene(tmp_path_factory):
    """Bands at 10 m, 20 m with nodata, and in another CRS, with a 20 m class band that marks cloud."""
    folder = tmp_path_factory.mktemp("mixed")
    rng = np.random.default_rng(1)
    fine = write(folder / "fine.tif", rng.integers(1, 5000, (1, 700, 610), dtype=np.uint16), nodata=0)
    coarse = rng.integers(0, 5000, (2, 340, 300), dtype=np.uint16)
    coarse[:, 40:60, 70:90] = 0
    classes = rng.integers(0, 12, (1, 340, 300), dtype=np.uint8)
    twenty = from_origin(500_000, 5_000_000, 20, 20)
    degrees = from_origin(14.99, 45.16, 0.0004, 0.0003)
    elevation = np.mgrid[0.5:300, 0.5:300].sum(axis=0, keepdims=True).astype(np.float32)
    elevation[0, 50, 50] = np.nan
    files = {
        "fine": fine,
        "coarse": write(folder / "coarse.tif", coarse, twenty, nodata=0),
        "classes": write(folder / "classes.tif", classes, twenty),
        "dem": write(folder / "dem.tif", elevation, degrees, crs="EPSG:4326"),
    }
    bands = {
        "B12": {"file": "coarse", "band": 2, "scale": 1e-4},
        "B08": {"file": "fine", "band": 1, "scale": 1e-4, "offset": -0.1},
        "dem": {"file": "dem", "band": 1},
        "SCL": {"file": "classes", "band": 1},
    }
    source = Source.model_validate({"bands": bands, "invalid": {"band": "SCL", "values": [3, 8], "bits": [0]}})
    scene = pickle.loads(pickle.dumps(describe_raster("mixed", files, source, ("B12", "B08", "dem"))))
    return scene, whole(scene), files


@LAW
@given(box=windows((700, 610)))
def test_any_window_equals_the_same_cut_of_the_whole(mixed_scene, box):
    scene, (image, observed, valid), _ = mixed_scene
    with scene.open() as reader:
        part, part_observed = reader.read(box)
        np.testing.assert_array_equal(part, image[(slice(None), *box.slices)])
        np.testing.assert_array_equal(part_observed, observed[box.slices])
        np.testing.assert_array_equal(reader.valid(box), valid[box.slices])


def test_the_grid_is_the_finest_bands(mixed_scene):
    scene, _, _ = mixed_scene
    assert scene.grid.shape == (700, 610)
    assert scene.grid.affine == (10, 0, 500_000, 0, -10, 5_000_000)
    assert {file.role: file.aligned for file in scene.files} == {
        "coarse": False,
        "fine": True,
        "dem": False,
        "classes": False,
    }


def test_interpolation_reproduces_a_linear_field(mixed_scene):
    scene, (image, observed, _), _ = mixed_scene
    rows, cols = np.mgrid[:700, :610] + 0.5
    x, y = scene.grid.pixel_to_world(rows, cols)
    lon, lat = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True).transform(x, y)
    expected = (lon - 14.99) / 0.0004 + (45.16 - lat) / 0.0003
    inner = observed.copy()
    inner[:200] = False  # beside the NaN pixel
    assert inner.mean() > 0.2
    np.testing.assert_allclose(image[2][inner], expected[inner], rtol=1e-6, atol=1e-4)


def test_outside_a_file_is_not_observed_and_zero(mixed_scene):
    _, (image, observed, valid), _ = mixed_scene
    assert not observed[680:].any()
    assert not observed[:, 600:].any()
    assert not observed[80:120, 140:180].any()
    assert np.all(image[:, ~observed] == 0)
    assert np.isfinite(image).all()
    assert not np.any(valid & ~observed)


def test_invalid_values_and_bits_leave_the_mask_but_not_the_image(mixed_scene):
    scene, (image, observed, valid), files = mixed_scene
    with rasterio.open(files["classes"]) as dataset:
        classes = dataset.read(1).repeat(2, axis=0).repeat(2, axis=1)[:, :600]
    cloud = (classes == 3) | (classes == 8) | (classes % 2 == 1)
    np.testing.assert_array_equal(valid[:680, :600], observed[:680, :600] & ~cloud)
    assert np.any(image[:, :680, :600][:, cloud & observed[:680, :600]] != 0)
    assert scene.n_channels == 3


@LAW
@given(
    dtype=st.sampled_from(["uint8", "int16", "uint16", "int32", "float32", "float64"]),
    shape=st.sampled_from([(1, 1), (3, 700), (65, 64), (257, 100)]),
    seed=st.integers(0, 99),
)
def test_integers_survive_exactly(tmp_path_factory, dtype, shape, seed):
    values = np.random.default_rng(seed).integers(0, 250, (2, *shape)).astype(dtype)
    path = write(tmp_path_factory.mktemp("exact") / "a.tif", values, crs=None)
    image, observed, valid = whole(describe_raster("a", {"": path}, Source(), ("x", "y")))
    np.testing.assert_array_equal(image, values.astype(np.float32))
    assert observed.all()
    assert valid.all()


def test_nodata_nan_infinity_mask_and_alpha_are_not_observed(tmp_path):
    floats = np.arange(12, dtype=np.float32).reshape(1, 3, 4) + 1
    floats[0, 0, 0], floats[0, 0, 1], floats[0, 0, 2] = np.nan, np.inf, -3.4e38
    path = write(tmp_path / "f.tif", floats, nodata=-3.4e38)
    _, observed, _ = whole(describe_raster("f", {"": path}, Source(), ("x",)))
    expected = np.ones((3, 4), dtype=bool)
    expected[0, :3] = False
    np.testing.assert_array_equal(observed, expected)

    path = write(tmp_path / "m.tif", np.ones((1, 3, 4), np.uint8))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(expected)
    assert Path(f"{path}.msk").exists()
    np.testing.assert_array_equal(whole(describe_raster("m", {"": path}, Source(), ("x",)))[1], expected)

    bands = np.stack([np.full((3, 4), 7, np.uint8), 255 * expected.astype(np.uint8)])
    path = write(tmp_path / "a.tif", bands, photometric="MINISBLACK", alpha="YES")
    scene = describe_raster("a", {"": path}, Source(), ("x",))
    np.testing.assert_array_equal(whole(scene)[1], expected)


def test_a_missing_band_is_named_with_what_was_found(tmp_path):
    path = write(tmp_path / "a.tif", np.ones((2, 2, 2), np.uint8), descriptions=("B02", "B03"))
    with pytest.raises(BandError, match=r"scene-7: band 'B08' missing; the model needs B02, B08; found B02, B03"):
        describe_raster("scene-7", {"": path}, Source(), ("B02", "B08"))
    with pytest.raises(BandError, match=r"number 5 .* has 2 band"):
        describe_raster("s", {"": path}, Source.model_validate({"bands": {"B02": {"band": 5}}}), ("B02",))


def test_bands_are_found_by_description_in_any_order(tmp_path):
    values = np.arange(3, dtype=np.uint8).reshape(3, 1, 1)
    path = write(tmp_path / "a.tif", values, descriptions=("B8A", "B8", "b02"))
    image, _, _ = whole(describe_raster("a", {"": path}, Source(), ("B02", "B08", "B8A")))
    assert image.ravel().tolist() == [2, 1, 0]
    path = write(tmp_path / "b.tif", values, descriptions=("nir", "red", "nir"))
    with pytest.raises(BandError, match="bands 1, 3 are all called 'NIR'"):
        describe_raster("b", {"": path}, Source(), ("NIR",))


def test_scale_and_offset_come_from_the_job_else_from_the_file(tmp_path):
    path = write(tmp_path / "a.tif", np.full((1, 1, 1), 1000, np.uint16), descriptions=("B04",))
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.001,), (-0.5,)
    assert whole(describe_raster("a", {"": path}, Source(), ("B04",)))[0].item() == pytest.approx(0.5)
    source = Source.model_validate({"bands": {"B04": {"band": 1, "scale": 0.01, "offset": 2}}})
    assert whole(describe_raster("a", {"": path}, source, ("B04",)))[0].item() == pytest.approx(12)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({}, 3000),
        ({"BOA_ADD_OFFSET": "-1000"}, 2000),
        ({"BOA_ADD_OFFSET_VALUES_LIST": " ".join(str(-100 * k) for k in range(13))}, 2700),
        ({"BOA_ADD_OFFSET": "-1000", "BOA_OFFSET_APPLIED": "true"}, 3000),
        ({"PROCESSING_BASELINE": "05.09", "SENSING_TIME": "2024-01-01"}, 3000),
    ],
)
def test_the_sentinel_2_offset_comes_from_metadata_alone(tmp_path, tags, expected):
    path = write(tmp_path / "a.tif", np.full((1, 1, 1), 3000, np.uint16), descriptions=("B04",))
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(**tags)
    assert whole(describe_raster("a", {"": path}, Source(), ("B04",)))[0].item() == expected


@pytest.mark.parametrize(("level", "quantity"), [("L2A", "BOA"), ("L1C", "RADIO")])
def test_the_sentinel_2_offset_of_a_granule_comes_from_its_product_file(tmp_path, level, quantity):
    folder = tmp_path / "GRANULE" / "L2A" / "IMG_DATA" / "R10m"
    folder.mkdir(parents=True)
    text = f'<x><{quantity}_ADD_OFFSET band_id="3">-1000</{quantity}_ADD_OFFSET></x>'
    (tmp_path / f"MTD_MSI{level}.xml").write_text(text)
    values = np.full((1, 64, 64), 3000, np.uint16)
    path = str(folder / "T33_2024_B04_10m.jp2")
    tif = write(tmp_path / "a.tif", values)
    copy(tif, path, driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")
    image, _, _ = whole(describe_raster("a", {"": path}, Source(), ("red",)))
    assert image[0, 0, 0] == 2000


def test_a_name_of_a_product_with_an_offset_and_no_word_of_it_is_told_of(tmp_path):
    def notes(baseline, **band):
        folder = tmp_path / f"S2A_MSIL1C_20240726T183921_{baseline}_R070_T11SKA_20240726T233000.SAFE"
        folder.mkdir(exist_ok=True)
        path = write(folder / "B08.tif", np.full((1, 4, 4), 3000, np.uint16), descriptions=("B08",))
        source = Source.model_validate({"bands": {"B08": {"band": 1, "scale": 1e-4, **band}}})
        return describe_raster("a", {"": path}, source, ("B08",)).notes

    assert ["offset: -0.1, or 0" in note for note in notes("N0511") if "Sentinel-2" in note] == [True]
    for silent in (notes("N0301"), notes("N0511", offset=0.0), notes("N0511", offset=-0.1)):
        assert not any("Sentinel-2" in note for note in silent)


def test_complex_damaged_and_absent_files_are_refused_by_name(tmp_path):
    path = write(tmp_path / "c.tif", np.ones((1, 2, 2), np.complex64))
    with pytest.raises(UnsupportedSceneError, match="complex"):
        describe_raster("c", {"": path}, Source(), ("x",))
    with pytest.raises(UnreadableSceneError, match="no such file"):
        describe_raster("c", {"": str(tmp_path / "absent.tif")}, Source(), ("x",))
    (tmp_path / "text.tif").write_text("not a raster")
    with pytest.raises(UnreadableSceneError, match="not a raster"):
        describe_raster("c", {"": str(tmp_path / "text.tif")}, Source(), ("x",))


@pytest.mark.parametrize(("crs", "pixel"), [(UTM, 10), ("EPSG:32631", 10), ("EPSG:4326", 1e-4)])
def test_files_that_share_no_ground_are_refused_by_name(tmp_path, crs, pixel):
    one = write(tmp_path / "one.tif", np.ones((1, 40, 50), np.uint8))
    away = from_origin(60, 9, pixel, pixel)
    other = write(tmp_path / "other.tif", np.ones((1, 30, 20), np.uint8), away, crs)
    source = Source.model_validate(
        {
            "files": {"a": "{scene}", "b": "{scene}"},
            "bands": {"A": {"file": "a", "band": 1}, "B": {"file": "b", "band": 1}},
        }
    )
    with pytest.raises(UnsupportedSceneError, match=r"apart: .*\.tif shares no ground with the finest file"):
        describe_raster("apart", {"a": one, "b": other}, source, ("A", "B"))


def test_the_fingerprint_follows_content_and_not_place(tmp_path):
    values = np.ones((1, 4, 4), np.uint8)
    (tmp_path / "b").mkdir()
    paths = [write(tmp_path / "a.tif", values), write(tmp_path / "b" / "c.tif", values)]
    prints = [fingerprint(describe_raster("a", {"": path}, Source(), ("x",))) for path in paths]
    assert prints[0] == prints[1]
    assert prints[0].content_hashed
    changed = write(tmp_path / "a.tif", values * 2)
    assert fingerprint(describe_raster("a", {"": changed}, Source(), ("x",))) != prints[0]


def test_archives_are_refused_by_name(tmp_path):
    path = write(tmp_path / "a.tif", np.ones((1, 4, 4), np.uint8))
    with ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, "a.tif")
    with pytest.raises(UndeclaredError, match="archives"):
        describe_raster("a", {"": f"/vsizip/{path[:-4]}.zip/a.tif"}, Source(), ("x",))


def test_a_grid_maps_pixels_to_the_world_and_back():
    grid = RasterGrid(rows=5, cols=7, affine=(3.0, 1.0, 100.0, -1.0, -4.0, 50.0), crs_wkt=None)
    rows, cols = np.array([0.0, 2.5, 5.0]), np.array([0.0, 3.5, 7.0])
    np.testing.assert_allclose(grid.world_to_pixel(*grid.pixel_to_world(rows, cols)), (rows, cols), atol=1e-9)


@pytest.mark.skipif(not (DATA / "satellite-fire").is_dir(), reason="the sample data is not there")
def test_a_fire_scene_of_two_files_reads_as_rasterio_does():
    folder = DATA / "satellite-fire" / "calfire-s2"
    files = {role: str(folder / role / "CAMPBELL_20241028.tif") for role in ("post_fire", "dnbr")}
    scene = describe_raster("CAMPBELL", files, Source(), ("B12", "B08", "dNBR"))
    image, _, _ = whole(scene)
    with rasterio.open(files["post_fire"]) as post, rasterio.open(files["dnbr"]) as dnbr:
        expected = np.stack([post.read(5), post.read(4), dnbr.read(1)]).astype(np.float32)
    np.testing.assert_array_equal(image, np.nan_to_num(expected))
