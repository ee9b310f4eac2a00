"""Laws of spraying: pressure where there is weed or crop, decisions by threshold, areas that add up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS

from tasks.answers.area import class_areas
from tasks.answers.crop.weed import LEAVE, NOTHING, SPRAY, UNDECIDED, SprayRule, SprayZones, decide, weed_pressure
from tasks.geometry.box import Box, split
from tasks.geometry.raster_grid import RasterGrid

UTM = CRS.from_epsg(32632).to_wkt()
RULE = SprayRule(weed=(2,), crop=(1,), spray_above=0.5, min_observed=0.5)


def zones(mask, side, rule=RULE):
    grid = RasterGrid(
        rows=mask.shape[0], cols=mask.shape[1], affine=(2.0, 0.0, 512_000.0, 0.0, -2.0, 6_247_000.0), crs_wkt=UTM
    )
    return SprayZones(read=lambda box: mask[box.slices], grid=grid, n_classes=3, side=side, rule=rule)


def test_weed_is_sprayed_where_it_outweighs_crop():
    classes = np.array([[0, 4, 5], [0, 5, 5], [9, 0, 1], [9, 0, 0], [0, 1, 2]])
    pixels = np.array([9, 10, 10, 9, 10])
    assert weed_pressure(classes[:, 2], classes[:, 1])[:3] == pytest.approx([5 / 9, 0.5, 1.0])
    assert np.isnan(weed_pressure(classes[:, 2], classes[:, 1])[3])
    assert decide(classes, pixels, RULE).tolist() == [SPRAY, LEAVE, SPRAY, NOTHING, UNDECIDED]


@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_zones_are_those_of_a_plain_loop_and_their_areas_add_up(rows, cols, side, seed):
    mask = np.random.default_rng(seed).choice([0, 1, 2, 255], (rows, cols)).astype(np.uint8)
    found = zones(mask, side)
    decided = found.decisions(Box((0, 0), found.zone_grid.shape))
    for box in split(mask.shape, (side, side)):
        part = mask[box.slices]
        weed, crop = (part == 2).sum(), (part == 1).sum()
        expected = SPRAY if weed > crop else LEAVE if crop else NOTHING
        expected = UNDECIDED if (part < 3).sum() < 0.5 * part.size else expected
        assert decided[box.start[0] // side, box.start[1] // side] == expected
    totals = found.totals()
    assert sum(totals.zones.values()) == decided.size
    area = class_areas(lambda box: np.zeros(box.shape, np.uint8), found.grid, 1).areas_ha[0]
    assert sum(totals.areas_ha.values()) == pytest.approx(area)
    if totals.saved_share is not None:
        assert totals.saved_share == pytest.approx(
            totals.areas_ha[LEAVE] / (totals.areas_ha[LEAVE] + totals.areas_ha[SPRAY])
        )


def test_ground_without_weed_and_crop_saves_nothing():
    mask = np.zeros((100, 100), np.uint8)
    mask[:2], mask[2:10] = 2, 1
    totals = zones(mask, 2).totals()
    assert totals.zones == {SPRAY: 50, LEAVE: 200, NOTHING: 2250, UNDECIDED: 0}
    assert totals.saved_share == pytest.approx(0.8, rel=1e-6)
    assert zones(np.zeros((100, 100), np.uint8), 2).totals().saved_share is None


def test_zones_are_read_in_pieces(monkeypatch):
    mask = np.random.default_rng(1).choice([0, 1, 2, 255], (70, 90)).astype(np.uint8)
    whole = zones(mask, 4).decisions(Box((0, 0), (18, 23)))
    totals = zones(mask, 4).totals()
    monkeypatch.setattr("tasks.answers.crop.weed._WINDOW_PIXELS", 12)
    cut = zones(mask, 4)
    assert np.array_equal(cut.decisions(Box((0, 0), (18, 23))), whole)
    assert cut.totals().zones == totals.zones
    assert cut.totals().areas_ha == pytest.approx(totals.areas_ha)
