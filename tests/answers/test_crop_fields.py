"""Laws of fields: pixels counted once, geodesic areas, margins in metres, windows that change nothing."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Geod, Transformer

from tasks.answers.crop.fields import FieldRules, FieldShapes, count_fields, field_rows, pixels_anywhere
from tasks.answers.crop.placement import place_polygons, shrunk
from tasks.answers.crop.scanline import edges_of, inside
from tasks.geometry.box import Box
from tasks.geometry.raster_grid import RasterGrid

UTM, WGS84, MERCATOR = (CRS.from_epsg(code).to_wkt() for code in (32632, 4326, 3857))
GRID = RasterGrid(rows=60, cols=80, affine=(10.0, 0.0, 512_000.0, 0.0, -10.0, 6_247_000.0), crs_wkt=UTM)
NONE = np.full(1, shapely.Polygon(), object)


def shapes(*polygons, inner=None):
    whole = np.array(polygons, object)
    empty = np.full(len(whole), shapely.Polygon(), object)
    return FieldShapes(whole, empty if inner is None else inner)


@st.composite
def triangulations(draw):
    """Points in and round a window of pixels, on pixel centres and corners too, and the triangles between them.

    None lie closer than a thousandth: GEOS's own buffers of the slivers between such are not numbers.
    """
    place = st.one_of(st.integers(-5000, 25000).map(lambda n: n / 1000), st.integers(-10, 50).map(lambda n: n / 2))
    points = draw(st.lists(st.tuples(place, place), min_size=4, max_size=15, unique=True))
    return shapely.delaunay_triangles(shapely.MultiPoint(points))


@settings(max_examples=120)
@given(triangulations())
def test_polygons_that_share_edges_answer_for_every_pixel_once(collection):
    triangles = shapely.get_parts(collection)
    box = Box((0, 0), (20, 20))
    total = np.zeros(box.shape, int)
    for triangle in triangles:
        total += inside(edges_of(triangle), box)
    hull = shapely.unary_union(triangles)
    rows, cols = np.mgrid[:20, :20] + 0.5
    clearly = shapely.contains_xy(shapely.buffer(hull, -1e-9), cols, rows)
    never = ~shapely.intersects_xy(shapely.buffer(hull, 1e-9), cols, rows)
    assert np.all(total[clearly] == 1)
    assert np.all(total[never] == 0)
    assert total.max(initial=0) <= 1


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_pixels_inside_are_those_whose_centres_shapely_finds_inside(seed):
    rng = np.random.default_rng(seed)
    parts = [shapely.Point(*rng.uniform(0, 30, 2)).buffer(rng.uniform(1, 9)) for _ in range(3)]
    shape = shapely.unary_union(parts).difference(shapely.Point(*rng.uniform(0, 30, 2)).buffer(4))
    window = Box((3, 2), (29, 27))
    rows, cols = np.mgrid[window.slices] + 0.5
    assert np.array_equal(inside(edges_of(shape), window), shapely.contains_xy(shape, cols, rows))


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(7, 5), (16, 16), (60, 80), (1, 80)]))
def test_windows_do_not_change_what_is_counted(seed, window):
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 5, GRID.shape).astype(np.uint8)
    mask[mask == 4] = 255
    confidence = rng.integers(0, 102, GRID.shape).astype(np.uint8)
    confidence[confidence == 101] = 255
    fields = np.array([shapely.Point(*rng.uniform(-10, 90, 2)).buffer(rng.uniform(1, 30)) for _ in range(6)], object)
    laid = FieldShapes(fields, shapely.buffer(fields, -2))

    def count(size):
        return count_fields(laid, GRID.shape, 4, lambda b: mask[b.slices], lambda b: confidence[b.slices], size)

    one, cut = count((2048, 2048)), count(window)
    for name in one.__dataclass_fields__:
        assert np.array_equal(getattr(one, name), getattr(cut, name)), name
    rows, cols = np.mgrid[:60, :80] + 0.5
    for number, field in enumerate(fields):
        within = shapely.contains_xy(field, cols, rows)
        assert one.pixels[number] == within.sum()
        assert one.classes[number].tolist() == [int((within & (mask == k)).sum()) for k in range(4)]


def test_the_mask_is_read_once_in_pieces_and_only_where_fields_are():
    asked = []
    laid = shapes(shapely.box(10, 10, 5000, 2100), shapely.box(20, 20, 30, 30), shapely.box(2100, 4200, 2110, 4210))

    def read(box: Box):
        asked.append(box)
        return np.zeros(box.shape, np.uint8)

    counts = count_fields(laid, (6000, 6000), 1, read)
    assert counts.pixels.tolist() == [4990 * 2090, 100, 100]
    assert len(asked) == len(set(asked)) == 3 * 2 + 1
    assert max(rows * cols for rows, cols in (box.shape for box in asked)) <= 2048**2


def test_a_field_says_what_was_counted_and_what_to_doubt():
    mask = np.zeros(GRID.shape, np.uint8)
    mask[:10, :10], mask[:10, 10:14], mask[5:10, :2], mask[30:, :] = 1, 2, 255, 255
    confidence = np.where(mask == 1, 90, 40).astype(np.uint8)
    laid = shapes(
        shapely.box(0, 0, 14, 10),
        shapely.box(40, 40, 50, 50),
        shapely.box(78, 2, 84, 4),
        shapely.box(200, 200, 210, 210),
    )
    counts = count_fields(laid, GRID.shape, 3, lambda b: mask[b.slices], lambda b: confidence[b.slices])
    whole = pixels_anywhere(laid.whole, GRID.shape, counts.pixels)
    mixed, unseen, edge, away = field_rows(counts, whole, FieldRules(mixed_below=0.8))
    assert (mixed.majority, mixed.second, mixed.pixels, mixed.observed_pixels) == (1, 2, 140, 130)
    assert mixed.purity == pytest.approx(90 / 130)
    assert mixed.vote_margin == pytest.approx(50 / 130)
    assert mixed.probability_mean == pytest.approx((90 * 0.9 + 40 * 0.4) / 130)
    assert mixed.probability_margin_at_least == pytest.approx(90 * 0.8 / 130)
    assert mixed.flags == ("mixed", "no inner pixels")
    assert (unseen.majority, unseen.purity, unseen.probability_mean, unseen.valid_share) == (None, None, None, 0.0)
    assert "little observed" in unseen.flags
    assert edge.on_map_share == pytest.approx(1 / 3)
    assert {"partly outside", "small"} <= set(edge.flags)
    assert away.flags == ("not on the map",)
    assert away.valid_share is None


@pytest.mark.parametrize("crs", [UTM, WGS84, MERCATOR])
def test_a_field_lies_where_it_lies_and_has_its_geodesic_area_in_any_crs(crs):
    ring = np.array([[512_100, 6_246_900], [512_400, 6_246_890], [512_380, 6_246_600], [512_120, 6_246_620]], float)
    to_own = Transformer.from_crs(UTM, crs, always_xy=True)
    polygon = np.array([shapely.Polygon(np.column_stack(to_own.transform(*ring.T)))], object)
    placed = place_polygons(polygon, crs, GRID)
    x, y = Transformer.from_crs(UTM, WGS84, always_xy=True).transform(*ring.T)
    expected, perimeter = Geod(ellps="WGS84").polygon_area_perimeter(x, y)
    assert placed.areas_m2[0] == pytest.approx(abs(expected), rel=1e-4)
    assert placed.perimeters_m[0] == pytest.approx(perimeter, rel=1e-4)
    counts = count_fields(FieldShapes(placed.pixels, NONE), GRID.shape, 1, lambda b: np.zeros(b.shape, np.uint8))
    assert counts.pixels[0] * 100 == pytest.approx(abs(expected), rel=0.02)


def test_a_hole_is_not_part_of_its_field():
    outer, hole = (
        shapely.box(512_100, 6_246_500, 512_500, 6_246_900),
        shapely.box(512_200, 6_246_600, 512_300, 6_246_700),
    )
    for ring in (hole.exterior, hole.exterior.reverse()):
        polygon = np.array([shapely.Polygon(outer.exterior, [ring])], object)
        placed = place_polygons(polygon, UTM, GRID)
        # The scale of UTM near its central meridian.
        assert placed.areas_m2[0] == pytest.approx((400**2 - 100**2) / 0.9996**2, rel=1e-4)
        assert inside(edges_of(placed.pixels[0]), Box((0, 0), GRID.shape)).sum() == 1500


@pytest.mark.parametrize(("crs", "affine"), [(UTM, GRID.affine), (WGS84, (1e-4, 0.0, 9.1, 0.0, -1e-4, 60.0))])
def test_a_margin_is_metres_on_the_ground(crs, affine):
    grid = RasterGrid(rows=400, cols=400, affine=affine, crs_wkt=crs)
    square = np.array([shapely.box(100, 100, 200, 200)], object)
    geod, to_degrees = Geod(ellps="WGS84"), Transformer.from_crs(crs, WGS84, always_xy=True)

    def place(col, row):
        x, y = grid.pixel_to_world(np.array([float(row)]), np.array([float(col)]))
        return tuple(float(value[0]) for value in to_degrees.transform(x, y))

    west, north, east, south = shapely.bounds(shrunk(square, grid, 25.0))[0]
    for inner, outer in (((west, 150), (100, 150)), ((east, 150), (200, 150)), ((150, north), (150, 100))):
        assert geod.inv(*place(*inner), *place(*outer))[2] == pytest.approx(25.0, rel=0.01)
    assert south < 200
    assert shapely.is_empty(shrunk(square, grid, 1e4)[0])
    beside = shrunk(np.array([shapely.Polygon(), square[0]], object), grid, 25.0)
    assert (shapely.is_empty(beside[0]), shapely.bounds(beside[1]).tolist()) == (True, [west, north, east, south])
