"""Areas, sides and centres agree whatever the unit and the prime meridian of the CRS."""

import numpy as np
import pytest
import shapely
from pyproj import CRS, Geod, Transformer

from tasks.answers.area import class_areas, pixel_sides_m
from tasks.answers.crop.placement import metres_per_pixel, place_polygons
from tasks.answers.fire.geodesy import Earth
from tasks.geometry.geodetic import Geodetic
from tasks.geometry.raster_grid import RasterGrid
from tasks.pairs.raster import spacings_of

# EPSG codes: the CRS, and its datum in degrees from Greenwich. NTF (Paris) counts grads from Paris.
CODES = [(27572, 4275), (4807, 4275), (32631, 4326), (4326, 4326), (3857, 4326)]


def square(code: int, degrees: int) -> tuple[RasterGrid, shapely.Polygon, tuple[float, float]]:
    """Return 20 x 20 pixels of about 50 m near 46.8 N 2.4 E, their frame, and the middle in degrees."""
    centre = (2.4, 46.8)
    to_degrees = Transformer.from_crs(code, degrees, always_xy=True)
    x, y = to_degrees.transform(*centre, direction="INVERSE")
    size = {4326: 0.0005, 4807: 0.0005}.get(code, 50.0)
    grid = RasterGrid(
        rows=20,
        cols=20,
        affine=(size, 0.0, x - 10 * size, 0.0, -size, y + 10 * size),
        crs_wkt=CRS.from_epsg(code).to_wkt(),
    )
    return grid, shapely.box(x - 10 * size, y - 10 * size, x + 10 * size, y + 10 * size), centre


@pytest.mark.parametrize(("code", "degrees"), CODES)
def test_fires_fields_and_pixels_have_one_area_and_one_place(code, degrees):
    grid, frame, centre = square(code, degrees)
    earth = Earth(grid.crs_wkt)
    pixels = class_areas(lambda box: np.zeros(box.shape, np.uint8), grid, 1).areas_ha[0]
    placed = place_polygons(np.array([frame], object), grid.crs_wkt, grid)
    assert earth.area_ha(shapely.MultiPolygon([frame])) == pytest.approx(pixels, rel=1e-4)
    assert placed.areas_m2[0] / 1e4 == pytest.approx(pixels, rel=1e-4)
    assert earth.lon_lat(frame.centroid) == pytest.approx(centre, abs=1e-6)
    assert shapely.get_coordinates(shapely.centroid(placed.geographic))[0] == pytest.approx(centre, abs=1e-6)


@pytest.mark.parametrize(("code", "degrees"), CODES)
def test_lengths_are_those_of_the_ellipsoid(code, degrees):
    grid, frame, _ = square(code, degrees)
    onto = Transformer.from_crs(code, degrees, always_xy=True)
    geod: Geod = CRS.from_epsg(degrees).get_geod()
    west, south, east, north = frame.bounds
    x, y = onto.transform([west, east, east, west], [north, north, south, south])
    width, height = geod.inv(x[0], y[0], x[1], y[1])[2], geod.inv(x[1], y[1], x[2], y[2])[2]
    assert pixel_sides_m(grid) == pytest.approx((height / 20, width / 20), rel=1e-3)
    assert spacings_of(grid)["m"] == pytest.approx((height / 20, width / 20), rel=1e-3)
    steps = metres_per_pixel(grid, np.array([10.0]), np.array([10.0]))[0]
    assert np.hypot(*steps) == pytest.approx((width / 20, height / 20), rel=1e-3)
    outer, _ = Earth(grid.crs_wkt).outline_km(frame)
    assert outer == pytest.approx(geod.polygon_area_perimeter(x, y)[1] / 1000, rel=1e-6)
    # The plane has its origin at the centre.
    onto_plane = Earth(grid.crs_wkt).plane(frame.centroid)
    assert shapely.get_coordinates(onto_plane(frame.centroid))[0] == pytest.approx((0.0, 0.0), abs=1e-3)


def test_degrees_from_greenwich_are_left_as_they_are():
    x, y = np.array([180.0, -180.0, 0.1]), np.array([90.0, -0.1, 12.3456789])
    longitude, latitude = Geodetic(CRS.from_epsg(4326).to_wkt()).degrees(x, y)
    assert (longitude.tolist(), latitude.tolist()) == (x.tolist(), y.tolist())
