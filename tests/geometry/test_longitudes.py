"""Laws of longitudes: a shape has one size and one box, wherever the map is cut and however longitudes are counted."""

import math

import numpy as np
import pytest
import shapely
from hypothesis import example, given
from hypothesis import strategies as st
from pyproj import CRS, Geod

from tasks.geometry import longitudes

GEOD = Geod(ellps="WGS84")
# As often where a shape crosses the antimeridian as elsewhere.
places = (st.floats(-180, 180) | st.floats(177, 183)).map(lambda x: round(x, 4))


def one(shape):
    return np.array([shape], object)


@st.composite
def shapes(draw):
    """A polygon near longitude 0: a box, or one with a hole, or two of them."""
    west, south = draw(st.floats(-3, 0)), draw(st.floats(-60, 59))
    width, height = draw(st.floats(0.01, 3)), draw(st.floats(0.01, 3))
    outer = shapely.box(west, south, west + width, south + height)
    if draw(st.booleans()):
        outer = shapely.difference(outer, shapely.affinity.scale(outer, 0.5, 0.5))
    if draw(st.booleans()):
        return shapely.MultiPolygon([outer, shapely.box(west + width + 1, south, west + width + 2, south + 1)])
    return outer


def shifted(shape, by):
    return shapely.transform(shape, lambda points: points + np.array([by, 0.0]))


def as_others_write(shape, how):
    """The same ground, its longitudes counted or cut in another way."""
    if how == "cut":
        return longitudes.cut(one(shape))[0]
    low = {"wrapped": -180.0, "east": 0.0, "far": -540.0}[how]
    return shapely.transform(shape, lambda points: np.column_stack([(points[:, 0] - low) % 360.0 + low, points[:, 1]]))


@given(shapes(), places, st.sampled_from(["cut", "wrapped", "east", "far"]))
# Edges so long that a point of the cut on them shows.
@example(shapely.box(0, 0, 2, 1), 179.0, "cut")
@example(shapely.box(-2.3, 40.2, 0.5, 42.7), 180.0, "cut")
def test_a_shape_has_the_same_measures_at_any_longitude_and_however_it_is_written(shape, place, how):
    expected = longitudes.measured(shape, GEOD)
    oriented = shapely.orient_polygons(shape)
    assert expected.area_m2 == pytest.approx(GEOD.geometry_area_perimeter(oriented)[0], rel=1e-9)
    found = longitudes.measured(as_others_write(shifted(shape, place), how), GEOD)
    assert (found.area_m2, found.outer_m, found.inner_m) == pytest.approx(
        (expected.area_m2, expected.outer_m, expected.inner_m), rel=1e-6
    )


@given(shapes(), places, st.sampled_from(["cut", "wrapped", "east", "far"]))
def test_what_is_laid_beside_a_place_is_the_shape_that_was_there(shape, place, how):
    there = shifted(shape, place)
    (found,) = longitudes.near(one(as_others_write(there, how)), place, 360.0)
    assert shapely.area(shapely.symmetric_difference(found, there)) < 1e-6 * there.area


@given(shapes(), places)
def test_cut_shapes_lie_within_the_map_and_lose_no_ground(shape, place):
    there = shifted(shape, place)
    (found,) = longitudes.cut(one(there))
    west, _, east, _ = found.bounds
    assert -180 <= west <= east <= 180
    assert found.is_valid
    assert found.area == pytest.approx(shape.area, rel=1e-9)
    assert all(part.bounds[2] - part.bounds[0] < 10 for part in shapely.get_parts(found))


@given(st.lists(st.tuples(st.floats(-5, 0), st.floats(0, 5)), min_size=1, max_size=6), places)
def test_a_bounding_box_is_as_wide_at_any_longitude(arcs, place):
    boxes = np.array([shapely.box(west, 0, east, 1) for west, east in arcs if east > west] or [shapely.box(0, 0, 1, 1)])
    west, south, east, north = shapely.total_bounds(boxes)
    moved = np.array([as_others_write(shifted(box, place), "wrapped") for box in boxes])
    found = longitudes.bounding_box(moved)
    assert found is not None
    assert (found[2] - found[0]) % 360 == pytest.approx(east - west, abs=1e-6)
    assert math.remainder(found[0] - west - place, 360) == pytest.approx(0, abs=1e-6)
    assert (found[1], found[3]) == (south, north)
    assert all(-180 <= edge <= 180 for edge in (found[0], found[2]))


def test_a_box_of_the_whole_earth_stays_whole():
    world = one(shapely.box(-180, -90, 180, 90))
    assert longitudes.cut(world)[0].equals(world[0])
    assert longitudes.bounding_box(world) == (-180, -90, 180, 90)
    assert longitudes.boxes_of(longitudes.box_shape(0, -10, 360, 10)) == [(-180, -10, 180, 10)]
    assert longitudes.bounding_box(one(shapely.Point(180, 1))) == (180, 1, 180, 1)
    assert longitudes.bounding_box(one(shapely.Polygon())) is None


@pytest.mark.parametrize("box", [(170, -5, -170, 5), (170, -5, 190, 5), (-190, -5, -170, 5)])
def test_a_box_over_the_antimeridian_is_two_boxes_of_one_ground(box):
    shape = longitudes.box_shape(*box)
    assert longitudes.boxes_of(shape) == [(170, -5, 180, 5), (-180, -5, -170, 5)]
    assert shape.area == pytest.approx(200)
    assert longitudes.bounding_box(one(shape)) == (170, -5, -170, 5)


def test_a_ring_round_a_pole_is_closed_along_it():
    ring = shapely.Polygon([(x, 80) for x in range(-180, 180, 20)])
    (flat,) = longitudes.unrolled(one(ring), 360.0)
    assert flat.is_valid
    assert flat.area == pytest.approx(3600)
    whole_cap = longitudes.measured(shapely.Polygon([(x, 80) for x in range(-180, 180)]), GEOD).area_m2
    assert longitudes.measured(ring, GEOD).area_m2 == pytest.approx(whole_cap, rel=0.03)
    assert longitudes.bounding_box(one(ring)) == (-180, 80, 180, 90)


@pytest.mark.parametrize(
    ("code", "turn"),
    [
        (4326, 360), (4979, 360), (4807, 400), (3857, 2 * math.pi * 6378137), (3395, 2 * math.pi * 6378137),
        (32660, None), (3035, None), (3413, None), (3338, None), (2225, None),
    ],
)  # fmt: skip
def test_the_turn_of_a_crs_is_what_comes_back_to_the_same_place(code, turn):
    found = longitudes.turn_of(CRS.from_epsg(code).to_wkt())
    assert found == (None if turn is None else pytest.approx(turn, rel=1e-9))


def test_a_sphere_and_an_equal_area_cylinder_go_round_and_a_sinusoid_does_not():
    turns = [
        longitudes.turn_of(CRS.from_proj4(f"+proj={name} +lon_0=150 +R=6371007.181").to_wkt())
        for name in ("cea", "eqc", "sinu")
    ]
    assert turns == [pytest.approx(2 * math.pi * 6371007.181), pytest.approx(2 * math.pi * 6371007.181), None]
    assert longitudes.turn_of(None) is None


@given(st.floats(-1e4, 1e4), st.floats(-720, 720))
def test_a_wrapped_longitude_is_the_same_within_half_a_turn(x, centre):
    (found,) = longitudes.wrapped(np.array([x]), centre)
    assert abs(found - centre) <= 180 * (1 + 1e-9)
    assert math.remainder(found - x, 360) == pytest.approx(0, abs=1e-8)
    assert abs(x - centre) > 180 or found == x


def test_what_is_not_finite_stays_so():
    assert np.array_equal(
        longitudes.wrapped(np.array([np.inf, np.nan, 190.0])), [np.inf, np.nan, -170.0], equal_nan=True
    )
