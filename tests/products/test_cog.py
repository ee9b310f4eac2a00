"""Laws of raster products: they lie on the input's grid, are valid COGs, and equal values give equal bytes."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rio_cogeo import cog_validate

from models.card import ClassEntry
from tasks.errors import ProductError
from tasks.geometry.raster_grid import GroundControl, RasterGrid
from tasks.products.cog import RasterProductSpec, write_cog
from tasks.scenes.raster.header import read_header

CLASSES = (
    ClassEntry(name="unburned & wet", colour="#102030"),
    ClassEntry(name="burned", colour="#ff0000"),
    ClassEntry(name="<water>", colour="#0000ff"),
)
UTM = CRS.from_epsg(32633).to_wkt()
AFFINE = (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0)
ROTATED = (7.0, 3.0, 500_000.0, 3.0, -7.0, 5_000_000.0)
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def write(path, values, grid, **options):
    spec = RasterProductSpec(grid, **{"classes": CLASSES, **options})
    write_cog(lambda box: values[box.slices], path, spec)
    return spec


def field(shape, seed=0, classes=3):
    values = np.random.default_rng(seed).integers(0, classes, shape).astype(np.uint8)
    values[shape[0] // 3 : shape[0] // 2, : shape[1] // 2] = 255
    return values


@settings(max_examples=12)
@given(
    shape=st.sampled_from([(1, 1), (3, 700), (511, 512), (513, 1100), (1300, 600)]),
    affine=st.sampled_from([AFFINE, ROTATED, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (10.0, 0.0, 5.0, 0.0, 10.0, 7.0)]),
    crs=st.sampled_from([UTM, None]),
    point=st.booleans(),
)
def test_the_product_lies_on_the_inputs_grid_and_is_a_valid_cog(tmp_path_factory, shape, affine, crs, point):
    path = tmp_path_factory.mktemp("cog") / "mask.tif"
    grid = RasterGrid(
        rows=shape[0], cols=shape[1], affine=affine, crs_wkt=crs, area_or_point="Point" if point else "Area"
    )
    values = field(shape)
    write(path, values, grid)
    valid, errors, remarks = cog_validate(str(path), strict=True)
    assert valid, (errors, remarks)
    header = read_header(str(path))
    assert header.grid.shape == shape
    assert header.grid.affine == pytest.approx(affine, abs=1e-9)
    assert (header.grid.crs_wkt is None) == (crs is None)
    assert header.grid.area_or_point == (grid.area_or_point if crs else "Area")
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(1), values)
        assert dataset.nodata == 255
        assert dataset.compression.name == "deflate"


def test_equal_values_give_equal_bytes(tmp_path):
    grid = RasterGrid(rows=1300, cols=1100, affine=AFFINE, crs_wkt=UTM)
    (tmp_path / "elsewhere").mkdir()
    for name in ("a.tif", "elsewhere/b.tif"):
        write(tmp_path / name, field((1300, 1100)), grid, tags={"SWATHE_MODEL": "m", "A": "1"})
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "elsewhere/b.tif").read_bytes()
    assert (tmp_path / "a.tif.aux.xml").read_bytes() == (tmp_path / "elsewhere/b.tif.aux.xml").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tif", "a.tif.aux.xml", "elsewhere"]


def test_names_colours_and_provenance_travel_with_the_file(tmp_path):
    path = tmp_path / "mask.tif"
    write(
        path,
        field((600, 600)),
        RasterGrid(rows=600, cols=600, affine=AFFINE, crs_wkt=UTM),
        tags={"SWATHE_MODEL": "fire-unet"},
    )
    with rasterio.open(path) as dataset:
        colours = dataset.colormap(1)
        assert colours[1] == (255, 0, 0, 255)
        assert colours[255][3] == 0
        assert dataset.tags()["SWATHE_MODEL"] == "fire-unet"
    table = ElementTree.parse(f"{path}.aux.xml").getroot().find(".//GDALRasterAttributeTable")
    rows = [[cell.text for cell in row] for row in table.findall("Row")]
    assert rows[1] == ["1", "burned", "255", "0", "0"]
    assert [row[1] for row in rows] == [entry.name for entry in CLASSES]


def test_overviews_hold_the_mode_and_ignore_what_is_not_observed(tmp_path):
    values = np.full((1024, 1024), 255, np.uint8)
    values[::2, ::2] = 2
    write(tmp_path / "mask.tif", values, RasterGrid(rows=1024, cols=1024, affine=AFFINE, crs_wkt=UTM))
    with rasterio.open(tmp_path / "mask.tif", overview_level=0) as overview:
        assert np.unique(overview.read(1)).tolist() == [2]


def test_confidence_has_no_colours_and_averages(tmp_path):
    values = np.full((1024, 1024), 255, np.uint8)
    values[::2, ::2], values[1::2, 1::2] = 20, 60
    write(
        tmp_path / "c.tif",
        values,
        RasterGrid(rows=1024, cols=1024, affine=AFFINE, crs_wkt=UTM),
        kind="confidence",
        classes=(),
    )
    assert not (tmp_path / "c.tif.aux.xml").exists()
    with rasterio.open(tmp_path / "c.tif", overview_level=0) as overview:
        assert np.unique(overview.read(1)).tolist() == [40]
    assert cog_validate(str(tmp_path / "c.tif"), strict=True)[0]


def test_above_255_classes_the_mask_is_uint16(tmp_path):
    classes = tuple(ClassEntry(name=f"c{n}", colour="#0a0b0c") for n in range(300))
    values = np.array([[299, 65535]], np.uint16)
    write(tmp_path / "m.tif", values, RasterGrid(rows=1, cols=2, affine=AFFINE, crs_wkt=UTM), classes=classes)
    with rasterio.open(tmp_path / "m.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(1), values)
        assert dataset.nodata == 65535


@pytest.mark.parametrize("epsg", [4326, 3857, 6933, 3035, 32718, 3413, 2056])
def test_any_crs_reads_back_equal(tmp_path, epsg):
    affine = (0.001, 0.0, 8.0, 0.0, -0.001, 46.0) if epsg == 4326 else AFFINE
    crs = CRS.from_epsg(epsg)
    write(tmp_path / "m.tif", field((5, 7)), RasterGrid(rows=5, cols=7, affine=affine, crs_wkt=crs.to_wkt()))
    with rasterio.open(tmp_path / "m.tif") as dataset:
        assert dataset.crs == crs


def test_a_crs_that_geotiff_cannot_say_is_kept_beside(tmp_path):
    crs = CRS.from_proj4("+proj=ob_tran +o_proj=longlat +o_lon_p=10 +o_lat_p=40 +lon_0=5 +datum=WGS84 +no_defs")
    write(tmp_path / "m.tif", field((5, 7)), RasterGrid(rows=5, cols=7, affine=AFFINE, crs_wkt=crs.to_wkt()))
    with rasterio.open(tmp_path / "m.tif") as dataset:
        assert dataset.crs == crs


def test_ground_control_points_are_kept(tmp_path):
    points = ((0.0, 0.0, 10.0, 50.0, 0.0), (0.0, 9.0, 11.0, 50.0, 0.0), (9.0, 0.0, 10.0, 49.0, 0.0))
    control = GroundControl(points, CRS.from_epsg(4326).to_wkt())
    write(tmp_path / "m.tif", field((9, 9)), RasterGrid(rows=9, cols=9, ground_control=control))
    with rasterio.open(tmp_path / "m.tif") as dataset:
        assert [(p.row, p.col, p.x, p.y, p.z) for p in dataset.gcps[0]] == list(points)


def test_an_unwritable_place_is_a_product_error(tmp_path):
    (tmp_path / "m.tif").mkdir()
    with pytest.raises(ProductError, match="cannot be written"):
        write(tmp_path / "m.tif", field((5, 7)), RasterGrid(rows=5, cols=7, affine=AFFINE, crs_wkt=UTM))


def test_nothing_stays_of_an_attempt_that_was_killed(tmp_path, monkeypatch):
    path, grid, values = (
        tmp_path / "mask.tif",
        RasterGrid(rows=3, cols=700, affine=AFFINE, crs_wkt=UTM),
        field((3, 700)),
    )
    with monkeypatch.context() as killed:
        # Of a process that is killed no clearing away runs.
        killed.setattr("tasks.products.cog.shutil.rmtree", lambda *_, **__: None)
        write(path, values, grid)
    assert len(list(tmp_path.iterdir())) == 3
    write(path, values, grid)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["mask.tif", "mask.tif.aux.xml"]
