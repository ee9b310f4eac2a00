"""Structures of a picture: exact where geometry is, scikit-image's elsewhere, the same wherever they lie."""

import csv
import json
import math

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import zoom
from skimage.measure import label, regionprops
from typer.testing import CliRunner

from flows.commands.app import app
from tasks.answers.structures import find_structures

SPACING = (0.5, 0.25)


def blobs(seed, shape=(40, 50)):
    """Return classes 0 to 2 in blobs of some pixels."""
    return zoom(np.random.default_rng(seed).integers(0, 3, (shape[0] // 5, shape[1] // 5)), 5, order=0).astype(np.uint8)


def test_a_rectangle_is_measured_exactly():
    mask = np.zeros((30, 60), np.uint8)
    mask[10:20, 15:55] = 2
    found = find_structures(mask, 3, SPACING)
    (one,) = found.measured
    assert (one.label, one.n_pixels, one.start, one.stop, one.touches_edge) == (2, 400, (10, 15), (20, 55), False)
    assert one.centre == (14.5, 34.5)
    assert (one.height, one.width, one.area) == (5.0, 10.0, 50.0)
    assert (one.longest, one.narrowest) == pytest.approx((math.hypot(5, 10), 5.0))
    # Second moments of a rectangle are its sides squared over 12.
    assert (one.major_axis, one.minor_axis) == pytest.approx((40 / math.sqrt(12), 20 / math.sqrt(12)))
    assert (one.direction_degrees, one.solidity) == pytest.approx((0.0, 1.0))
    # Half a pixel is cut from each corner.
    assert one.perimeter == pytest.approx(2 * (4.5 + 9.75) + 4 * math.hypot(0.25, 0.125))
    assert found.pixels == (1400, 0, 400)


@pytest.mark.parametrize("degrees", [-60, -20, 35, 90])
def test_an_ellipse_has_its_axes_and_its_direction(degrees):
    rows, cols = np.mgrid[0:240, 0:480].astype(float)
    down, right = (rows - 120) * SPACING[0], (cols - 240) * SPACING[1]
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    along, across = right * cosine - down * sine, right * sine + down * cosine
    (one,) = find_structures(((along / 40) ** 2 + (across / 15) ** 2 <= 1).astype(np.uint8), 2, SPACING).measured
    assert one.area == pytest.approx(math.pi * 40 * 15, rel=4e-3)
    assert (one.major_axis, one.minor_axis) == pytest.approx((80, 30), rel=3e-3)
    assert (one.longest, one.narrowest) == pytest.approx((80, 30), abs=0.6)
    assert one.direction_degrees == pytest.approx(degrees, abs=0.3)
    assert one.solidity > 0.97


@given(st.integers(0, 10_000), st.sampled_from([4, 8]))
@settings(max_examples=20, deadline=None)
def test_structures_are_those_of_scikit_image(seed, connectivity):
    mask = blobs(seed)
    found = find_structures(mask, 3, SPACING, connectivity)
    theirs = [
        (k, region)
        for k in (1, 2)
        for region in regionprops(label(mask == k, connectivity=1 if connectivity == 4 else 2), spacing=SPACING)
    ]
    ours = {(one.label, one.start, one.stop): one for one in found.measured}
    assert len(ours) == len(theirs) == len(found.measured)
    for number, region in theirs:
        top, left, bottom, right = region.bbox
        one = ours[number, (top, left), (bottom, right)]
        assert one.area == pytest.approx(region.area)
        centre = [(place * step) for place, step in zip(one.centre, SPACING, strict=True)]
        assert centre == pytest.approx(region.centroid)
        assert one.narrowest <= min(one.height, one.width) + 1e-9
        assert max(one.height, one.width) - 1e-9 <= one.longest <= math.hypot(one.height, one.width) + 1e-9
        assert one.touches_edge == (top == 0 or left == 0 or bottom == 40 or right == 50)


def test_a_structure_beside_what_was_not_observed_may_go_on():
    mask = np.zeros((20, 20), np.uint8)
    mask[5:8, 5:8], mask[12:15, 12:15], mask[8:10, 5:8] = 1, 1, 255
    found = find_structures(mask, 2, (1.0, 1.0), smallest_pixels=4)
    assert [one.touches_edge for one in found.measured] == [True, False]
    assert found.pixels == (400 - 18 - 6, 18)
    assert find_structures(mask, 2, (1.0, 1.0), smallest_pixels=10).n_small == {1: 2}


@pytest.fixture
def picture(tmp_path):
    def write(name, **tags):
        mask = np.zeros((30, 60), np.uint8)
        mask[10:20, 15:55], mask[2:4, 2:4] = 1, 2
        path = tmp_path / name
        transform = rasterio.Affine(0.25, 0, 0, 0, -0.5, 0)
        options = {"height": 30, "width": 60, "count": 1, "dtype": "uint8", "transform": transform}
        with rasterio.open(path, "w", driver="GTiff", **options) as sink:
            sink.write(mask, 1)
            sink.update_tags(**tags)
        return path

    return write


@pytest.mark.parametrize(
    ("tags", "options", "unit", "area"),
    [
        ({"PIXEL_UNIT": "mm"}, [], "mm", 50.0),
        ({}, [], "px", 400.0),
        ({}, ["--spacing-mm", "0.1", "0.2"], "mm", 8.0),
        ({"PIXEL_UNIT": "mm"}, ["--set", "analysis.spacing_mm=[0.1, 0.2]"], "mm", 8.0),
    ],
)
def test_masks_made_elsewhere_are_measured_in_millimetres_where_they_are_known(
    tmp_path, picture, tags, options, unit, area
):
    mask, out = picture("chest.tif", **tags), tmp_path / "out"
    ended = CliRunner().invoke(app, ["analyse", "structures", str(mask), "--out", str(out), *options])
    assert ended.exit_code == 0, ended.output
    summary = json.loads((out / "chest" / "summary.json").read_text())
    square = "mm2" if unit == "mm" else "pixels"
    first, second = summary["structures"]
    assert (summary["unit"], first[f"area_{square}"], first["pixels"]) == (unit, area, 400)
    assert summary["headline"] == {
        f"class_1_{square}": area, "class_1_parts": 1, f"class_2_{square}": area / 100, "class_2_parts": 1
    }  # fmt: skip
    assert ("spacing_is_null_because" in summary) == (unit == "px")
    rows = list(csv.DictReader((out / "chest" / "structures.csv").read_text().splitlines()))
    assert [row["class"] for row in rows] == ["class 1", "class 2"]
    assert float(rows[0][f"longest_{unit}"]) == pytest.approx(first[f"longest_{unit}"])
    assert "Structures" in (out / "chest" / "report.html").read_text()
    assert second["touches_edge"] is False


def test_a_job_about_radiographs_ships_and_measures_masks(tmp_path, picture):
    command = ["analyse", "structures", str(picture("chest.tif", PIXEL_UNIT="mm")), "--job", "radiograph"]
    ended = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "out")])
    assert ended.exit_code == 0, ended.output
    summary = json.loads((tmp_path / "out" / "chest" / "summary.json").read_text())
    assert [one["class"] for one in summary["structures"]] == ["class 1"]
    assert summary["warnings"] == ["1 part(s) of fewer than 50 pixels were counted and not measured"]
