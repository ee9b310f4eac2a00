"""What comes in goes out: a file's own columns, coefficients that place a picture, a band that its file calls alpha."""

import json

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from hypothesis import given
from hypothesis import strategies as st
from rasterio.enums import ColorInterp
from rasterio.rpc import RPC
from scenes import write_raster

from models.card import ClassEntry
from tasks.analysis.crop.analyse import analyse_crop
from tasks.analysis.crop.field_files import own_names
from tasks.analysis.masks.raster import open_raster_mask
from tasks.geometry.box import Box
from tasks.jobs.crop import CropAnalysis
from tasks.jobs.source import Source
from tasks.products.cog import RasterProductSpec, write_cog
from tasks.scenes.raster.header import read_header
from tasks.scenes.raster.scene import describe_raster
from tasks.scenes.vectors import read_vectors

names = st.lists(st.text("abAB:_", min_size=1, max_size=3), unique=True, max_size=8)


@given(names, names)
def test_every_column_keeps_a_name_of_its_own(own, taken):
    found = own_names(own, taken)
    assert list(found) == own
    used = [name.casefold() for name in found.values()]
    assert len(set(used) | {name.casefold() for name in taken}) == len(used) + len({n.casefold() for n in taken})
    assert all(
        kept == name or name.casefold() in {*map(str.casefold, taken), *map(str.casefold, own)}
        for name, kept in found.items()
    )


OWN = {
    "case": {"Name": "Oben", "name": "upper", "FIXME": "x", "fixme": "y"},
    "id": {"id": "DE-0815", "area_ha": 3.9, "crop": "hay"},
    "lists": {"crops": ["maize", "rye"], "box": [1, 2, 3]},
    "nested": {"owner": {"name": "x", "n": 2}},
    "formats": {"fid": "A", "geom": "B", "OGC_FID": 3, "select": 1},
    "fiboa": {"metrics:area": 7.5, "collection": "mine"},
}
WRITTEN = {
    "case": {"Name": "Oben", "name_own": "upper", "FIXME": "x", "fixme_own": "y"},
    "id": {"id_own": "DE-0815", "area_ha_own": 3.9, "crop": "hay"},
    "lists": {"crops": '["maize", "rye"]', "box": "[1, 2, 3]"},
    "nested": {"owner": '{"name": "x", "n": 2}'},
    "formats": {"fid_own": "A", "geom_own": "B", "OGC_FID_own": 3, "select": 1},
    "fiboa": {"metrics:area_own": 7.5, "collection_own": "mine"},
}


@pytest.mark.parametrize("case", OWN)
def test_the_files_own_columns_follow_whatever_they_are_called_and_hold(tmp_path, case):
    own, expected = OWN[case], WRITTEN[case]
    mask = write_raster(tmp_path / "map.tif", np.ones((1, 40, 40), np.uint8))
    field = shapely.box(500_100, 4_999_300, 500_300, 4_999_700)
    other = dict.fromkeys(own)
    features = [
        {"type": "Feature", "properties": properties, "geometry": shapely.geometry.mapping(field)}
        for properties in (own, other)
    ]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}
    text = json.dumps({"type": "FeatureCollection", "crs": crs, "features": features})
    (tmp_path / "fields.geojson").write_text(text)
    (tmp_path / "product").mkdir()
    crop = CropAnalysis.model_validate({"kind": "crop", "fields": str(tmp_path / "fields.geojson")})
    analyse_crop(open_raster_mask(mask, None, "map"), crop, tmp_path / "product")
    for name in ("fields.gpkg", "fields.parquet"):
        columns = read_vectors(tmp_path / "product" / name).columns
        assert list(columns["id"]) == ["1", "2"]
        for key, value in expected.items():
            found = columns[key][0]
            assert (
                (json.loads(found) == json.loads(value))
                if isinstance(value, str) and value[0] in "[{"
                else found == value
            )
    assert pyogrio.read_info(tmp_path / "product" / "fields.gpkg")["features"] == 2


def test_coefficients_that_place_a_picture_stand_in_its_mask(tmp_path):
    rpc = RPC(
        height_off=100, height_scale=500, lat_off=38, lat_scale=0.05, line_off=15, line_scale=15, long_off=-121,
        long_scale=0.05, samp_off=20, samp_scale=20, line_den_coeff=[1] + [0] * 19,
        line_num_coeff=[0, 0, -1.25] + [0] * 17, samp_den_coeff=[1] + [0] * 19, samp_num_coeff=[0, 1] + [0] * 18,
    )  # fmt: skip
    profile = {"driver": "GTiff", "height": 30, "width": 40, "count": 1, "dtype": "uint8"}
    with rasterio.open(tmp_path / "a.tif", "w", rpcs=rpc, **profile) as dataset:
        dataset.write(np.zeros((1, 30, 40), np.uint8))
    grid = read_header(str(tmp_path / "a.tif")).grid
    classes = (ClassEntry(name="a", colour="#000000"),)
    write_cog(
        lambda box: np.zeros(box.shape, np.uint8), tmp_path / "mask.tif", RasterProductSpec(grid, "mask", classes)
    )
    with rasterio.open(tmp_path / "mask.tif") as dataset:
        found = dataset.rpcs
    assert found.line_num_coeff == pytest.approx(rpc.line_num_coeff)
    assert (found.lat_off, found.long_off, found.samp_scale) == (38, -121, 20)


@pytest.fixture
def four_bands(tmp_path):
    """Red, green, blue and near-infrared, which is 0 over water and which the file calls alpha."""
    values = np.full((4, 20, 20), 90, np.uint8)
    values[3, :8] = 0
    path = write_raster(tmp_path / "a.tif", values)
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    return str(path)


def seen(path, channels, **bands):
    scene = describe_raster("s", {"": path}, Source.model_validate({"bands": bands}), channels)
    with scene.open() as reader:
        return reader.read(Box((0, 0), (20, 20))), scene.notes


def test_a_band_that_the_job_names_masks_nothing_whatever_its_file_calls_it(four_bands):
    (image, valid), notes = seen(four_bands, ("R", "N"), R={"band": 1}, N={"band": 4})
    assert valid.all()
    assert np.array_equal(np.unique(image[1]), [0, 90])
    assert any("alpha" in note for note in notes)
    (image, valid), _ = seen(four_bands, ("r", "g", "b", "n"))
    assert valid.all()


def test_alpha_that_nobody_reads_says_what_was_not_observed(four_bands):
    for channels, bands in ((("R",), {"R": {"band": 1}}), (("r", "g", "b"), {})):
        (_, valid), notes = seen(four_bands, channels, **bands)
        assert np.array_equal(valid, np.broadcast_to(np.arange(20)[:, np.newaxis] >= 8, (20, 20)))
        assert notes == ()
