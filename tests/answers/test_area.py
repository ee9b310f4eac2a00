"""Laws of areas: true on the ellipsoid in any CRS, and independent of how a mask is cut."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Geod, Transformer
from rasterio.features import rasterize
from rasterio.transform import Affine
from shapely.geometry import Polygon

from tasks.answers.area import PixelAreas, class_areas
from tasks.geometry.box import Box
from tasks.geometry.raster_grid import RasterGrid

DATA = Path(os.environ.get("SWATHE_SAMPLES", Path(__file__).parents[3] / "shared" / "data"))
WGS84 = Geod(ellps="WGS84")


def wkt(code):
    return CRS.from_user_input(code).to_wkt()


def square(longitude, latitude, size_m):
    """A geodesic ring of many vertices, so that straight lines in any CRS are the same lines."""
    azimuths = np.linspace(0, 360, 720, endpoint=False)
    radii = size_m / 2 * (1 + 0.3 * np.cos(np.radians(azimuths * 3)))
    lon, lat, _ = WGS84.fwd(np.full(720, longitude), np.full(720, latitude), azimuths, radii)
    return Polygon(np.column_stack([lon, lat]))


def burn(polygon, code, pixels, turn_degrees=0.0):
    """Burn a polygon given in degrees into a raster of about ``pixels`` on a side."""
    to_crs = Transformer.from_crs("EPSG:4326", code, always_xy=True).transform
    shape = Polygon(np.column_stack(to_crs(*polygon.exterior.xy)))
    west, south, east, north = shape.bounds
    diagonal = np.hypot(east - west, north - south)
    size = diagonal / pixels
    affine = (
        Affine.translation((west + east) / 2, (south + north) / 2)
        @ Affine.rotation(turn_degrees)
        @ Affine.translation(-diagonal / 2, diagonal / 2)
        @ Affine.scale(size, -size)
    )
    mask = rasterize([(shape, 1)], out_shape=(pixels, pixels), transform=affine, dtype="uint8")
    return mask, RasterGrid(rows=pixels, cols=pixels, affine=tuple(affine[:6]), crs_wkt=wkt(code))


@pytest.mark.parametrize(
    ("longitude", "latitude", "codes"),
    [
        (15.4, 45.3, ["EPSG:4326", "EPSG:3857", "EPSG:32633", "EPSG:6933", "EPSG:3035"]),
        (11.2, 60.0, ["EPSG:4326", "EPSG:3857", "EPSG:32632", "EPSG:6933"]),
        (-68.0, -54.0, ["EPSG:4326", "EPSG:3857", "EPSG:32719", "EPSG:6933"]),
        (30.0, 82.0, ["EPSG:4326", "EPSG:3857", "EPSG:3413"]),
    ],
)
def test_a_polygon_has_its_geodesic_area_in_any_crs(longitude, latitude, codes):
    polygon = square(longitude, latitude, 20_000)
    expected = abs(WGS84.geometry_area_perimeter(polygon)[0]) / 10_000
    for code in codes:
        for turn in (0.0, 30.0):
            mask, grid = burn(polygon, code, 1500, turn)
            result = class_areas(lambda box, mask=mask: mask[box.slices], grid, 2)
            assert result.areas_ha[1] == pytest.approx(expected, rel=1e-3), (code, turn)


def test_pixels_over_a_pole_and_the_antimeridian_have_their_area():
    for code in ("EPSG:3413", "EPSG:3031", "EPSG:3995"):
        grid = RasterGrid(rows=1500, cols=1500, affine=(2000.0, 0.0, -1.5e6, 0.0, -2000.0, 1.5e6), crs_wkt=wkt(code))
        rows, cols = np.mgrid[:1500, :1500] + 0.5
        _, latitude = Transformer.from_crs(code, "EPSG:4326", always_xy=True).transform(
            *grid.pixel_to_world(rows, cols)
        )
        mask = (np.abs(latitude) > 80).astype(np.uint8)
        cap = 2 * np.pi * 6378137**2 * (1 - _q_ratio(80.0)) * _q_pole() / 2 / 10_000
        assert class_areas(lambda box, mask=mask: mask[box.slices], grid, 2).areas_ha[1] == pytest.approx(cap, rel=1e-3)


def _q(latitude):
    e2 = 0.0066943799901413165
    e, s = np.sqrt(e2), np.sin(np.radians(latitude))
    return (1 - e2) * (s / (1 - e2 * s * s) - np.log((1 - e * s) / (1 + e * s)) / (2 * e))


def _q_pole():
    return _q(90.0)


def _q_ratio(latitude):
    return _q(latitude) / _q(90.0)


def test_the_whole_earth_has_the_area_of_the_ellipsoid():
    for e, f in ((-1.0, 90.0), (1.0, -90.0), (-1.0000001, 90.0)):
        grid = RasterGrid(rows=180, cols=360, affine=(1.0, 0.0, -180.0, 0.0, e, f), crs_wkt=wkt("EPSG:4326"))
        total = class_areas(lambda box: np.zeros(box.shape, np.uint8), grid, 1).areas_ha[0]
        assert total * 1e4 == pytest.approx(510_065_621_724_088.0, rel=1e-9)


def test_rows_of_degrees_and_the_lattice_agree():
    affine = (0.001, 0.0, 15.0, 0.0, -0.001, 61.0)
    areas = PixelAreas(RasterGrid(rows=900, cols=700, affine=affine, crs_wkt=wkt("EPSG:4326")))
    box = Box((13, 5), (900, 700))
    exact = np.broadcast_to(areas.window(box), box.shape)
    np.testing.assert_allclose(areas._interpolated(box), exact, rtol=1e-5)


@settings(max_examples=25)
@given(
    start=st.tuples(st.integers(0, 899), st.integers(0, 699)),
    size=st.tuples(st.integers(1, 600), st.integers(1, 600)),
    code=st.sampled_from(["EPSG:4326", "EPSG:32633"]),
)
def test_the_area_of_a_pixel_does_not_depend_on_the_window(start, size, code):
    affine = (10.0, 2.0, 4e5, 2.0, -10.0, 5e6) if code != "EPSG:4326" else (1e-4, 0.0, 15.0, 0.0, -1e-4, 45.0)
    areas = PixelAreas(RasterGrid(rows=900, cols=700, affine=affine, crs_wkt=wkt(code)))
    box = Box(start, (min(900, start[0] + size[0]), min(700, start[1] + size[1])))
    whole = np.broadcast_to(areas.window(Box((0, 0), (900, 700))), (900, 700))
    np.testing.assert_array_equal(np.broadcast_to(areas.window(box), box.shape), whole[box.slices])


def test_feet_count_as_feet():
    code = "EPSG:2263"
    polygon = square(-73.9, 40.7, 5000)
    mask, grid = burn(polygon, code, 1200)
    expected = abs(Geod(ellps="GRS80").geometry_area_perimeter(polygon)[0]) / 10_000
    assert class_areas(lambda box: mask[box.slices], grid, 2).areas_ha[1] == pytest.approx(expected, rel=1e-3)


def test_not_observed_is_counted_apart():
    mask = np.array([[0, 1, 255], [255, 1, 1]], np.uint8)
    grid = RasterGrid(rows=2, cols=3, affine=(100.0, 0.0, 5e5, 0.0, -100.0, 5e6), crs_wkt=wkt("EPSG:32633"))
    result = class_areas(lambda box: mask[box.slices], grid, 2)
    assert result.pixels == (1, 3)
    assert result.not_observed_pixels == 2
    assert result.areas_ha == pytest.approx((1.0, 3.0), rel=2e-3)
    assert result.not_observed_ha == pytest.approx(2.0, rel=2e-3)


@pytest.mark.parametrize(
    "crs", [None, 'ENGCRS["a",EDATUM["b"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]']
)
def test_a_raster_that_is_nowhere_has_pixels_and_a_reason_but_no_area(crs):
    result = class_areas(lambda box: np.zeros(box.shape, np.uint8), RasterGrid(rows=3, cols=4, crs_wkt=crs), 2)
    assert result.pixels == (12, 0)
    assert result.areas_ha is None
    assert result.reason


def _reference():
    text = (DATA / "SOURCES.md").read_text() if (DATA / "SOURCES.md").is_file() else ""
    return re.findall(r"\| calfire-s2/(masks/\S+) .*?\| ([\d.]+) ha \(\d+ acres\) on the ellipsoid", text)


@pytest.mark.skipif(not _reference(), reason="the sample data is not there")
def test_burned_areas_of_real_perimeters_are_those_published_with_them():
    for name, hectares in _reference():
        with rasterio.open(DATA / "satellite-fire" / "calfire-s2" / name) as dataset:
            mask = dataset.read(1)
            grid = RasterGrid(
                rows=mask.shape[0],
                cols=mask.shape[1],
                affine=tuple(dataset.transform[:6]),
                crs_wkt=dataset.crs.to_wkt(),
            )
        result = class_areas(lambda box, mask=mask: mask[box.slices], grid, 2)
        assert result.areas_ha[1] == pytest.approx(float(hectares), rel=1e-3)
