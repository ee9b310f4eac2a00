"""Laws of sampling designs: the published size, allocations that add up, draws that can be repeated and are fair."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS

from tasks.answers.crop.planner import draw_units, sample_sizes
from tasks.errors import SampleError
from tasks.geometry.box import Box
from tasks.geometry.raster_grid import RasterGrid

# Olofsson et al. 2014, section 5.1: shares of the map and anticipated user's accuracies.
SHARES, ANTICIPATED = (0.020, 0.015, 0.320, 0.645), (0.70, 0.60, 0.90, 0.95)
UTM, WGS84 = (CRS.from_epsg(code).to_wkt() for code in (32632, 4326))
WORLD = (9.0, 0.0, -180.0, 0.0, -1.0, 90.0)


def drawn(mask, sizes, seed, crs=UTM, affine=(20.0, 0.0, 500_000.0, 0.0, -20.0, 5_000_000.0)):
    grid = RasterGrid(rows=mask.shape[0], cols=mask.shape[1], affine=affine, crs_wkt=crs)
    return draw_units(lambda box: mask[box.slices], grid, sizes, seed)


def test_the_sample_size_of_olofsson_2014_comes_out():
    best = sample_sizes(SHARES, ANTICIPATED, 0.01, "neyman")
    assert best.optimum == 641
    assert 641 <= sum(best.sizes) <= 641 + 4
    assert best.expected_se == pytest.approx(0.01, rel=0.01)
    rare = sample_sizes(SHARES, ANTICIPATED, 0.01, "minimum", smallest=75)
    assert rare.sizes[:2] == (75, 75)
    # More than the 641 of the best allocation: 75 of them in strata that matter little for the whole.
    assert 641 < sum(rare.sizes) < 800
    assert rare.expected_se == pytest.approx(0.01, rel=0.02)
    assert rare.sizes[2] / rare.sizes[3] == pytest.approx(0.320 / 0.645, rel=0.02)


@settings(max_examples=80)
@given(
    st.lists(st.floats(0.0, 1e6), min_size=1, max_size=8).filter(lambda areas: sum(areas) > 1),
    st.floats(0.5, 0.99),
    st.floats(0.005, 0.1),
    st.sampled_from(["minimum", "proportional", "equal", "neyman"]),
)
def test_every_stratum_with_area_gets_two_samples_and_none_gets_any_without(areas, accuracy, target, allocation):
    found = sample_sizes(areas, [accuracy] * len(areas), target, allocation, smallest=20)
    assert all(size >= 2 if area > 0 else size == 0 for size, area in zip(found.sizes, areas, strict=True))
    assert found.expected_se <= target * (1 + 1e-6)
    if allocation == "minimum":
        assert all(size >= 20 for size, area in zip(found.sizes, areas, strict=True) if area > 0)


def test_what_cannot_be_aimed_at_is_refused():
    for areas, anticipated, target in (((1.0,), (0.9,), 0.0), ((1.0,), (1.2,), 0.01), ((0.0,), (0.9,), 0.01)):
        with pytest.raises(SampleError):
            sample_sizes(areas, anticipated, target)


def test_a_draw_repeats_with_its_seed_lies_in_its_strata_and_does_not_depend_on_windows(monkeypatch):
    mask = np.random.default_rng(3).integers(0, 4, (300, 257)).astype(np.uint8)
    mask[200:, 100:] = 255
    first, again, other = (drawn(mask, (30, 0, 17, 40), seed) for seed in (7, 7, 8))
    assert np.bincount(first.strata, minlength=4).tolist() == [30, 0, 17, 40]
    assert np.array_equal(mask[first.rows, first.cols], first.strata)
    assert len({*zip(first.rows.tolist(), first.cols.tolist(), strict=True)}) == 87
    for name in ("rows", "cols", "strata", "inclusion"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.rows, other.rows)
    monkeypatch.setattr("tasks.answers.crop.planner._WINDOW", (64, 64))
    small = drawn(mask, (30, 0, 17, 40), 7)
    assert np.array_equal(first.rows, small.rows)
    assert np.array_equal(first.cols, small.cols)
    pixels = np.bincount(mask[mask < 4])
    assert first.inclusion == pytest.approx(np.array([30, 0, 17, 40])[first.strata] / pixels[first.strata], rel=1e-4)


def test_a_draw_is_fair_and_favours_pixels_by_their_area():
    mask = np.zeros((20, 10), np.uint8)
    counts = np.zeros(mask.shape)
    for seed in range(400):
        units = drawn(mask, (20,), seed, crs=None)
        np.add.at(counts, (units.rows, units.cols), 1)
    # Binomial with mean 40: six standard deviations.
    assert np.all(np.abs(counts - 40) < 36)
    assert abs(counts[:10].sum() - 4000) < 6 * np.sqrt(8000 * 0.25)
    # Pixels of a world map: at 60 degrees half as large as at the equator.
    rows = np.concatenate([drawn(np.zeros((180, 40), np.uint8), (60,), seed, WGS84, WORLD).rows for seed in range(30)])
    near_pole = np.mean(np.abs(89.5 - rows) > 60)
    assert near_pole == pytest.approx(1 - np.sin(np.radians(60)), abs=0.04)


def test_a_stratum_smaller_than_its_sample_is_taken_whole():
    mask = np.zeros((8, 8), np.uint8)
    mask[0, :3] = 1
    units = drawn(mask, (5, 10), 1)
    assert np.bincount(units.strata).tolist() == [5, 3]
    assert units.inclusion[units.strata == 1] == pytest.approx(1.0)


def test_places_are_read_window_by_window():
    asked = []
    grid = RasterGrid(rows=2500, cols=2100, affine=(20.0, 0.0, 500_000.0, 0.0, -20.0, 5_000_000.0), crs_wkt=UTM)

    def read(box: Box):
        asked.append(box.shape)
        return np.zeros(box.shape, np.uint8)

    draw_units(read, grid, (5,), 0)
    assert max(rows * cols for rows, cols in asked) <= 2048**2
