from __future__ import annotations

import io
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.reports.legend import Caption, LegendEntry
from tasks.reports.pictures.drawing import overlay, plain, rgb, round_length, wrapped
from tasks.reports.pictures.planes import volume_preview_slices
from tasks.reports.pictures.preview import render_raster_preview, stretch
from tasks.reports.pictures.preview_volume import render_volume_preview
from tasks.scenes.volume.scene import describe_volume

LAWS = settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
LEGEND = {1: LegendEntry("burned", "#ff4d00", "360.3 ha"), 2: LegendEntry("water", "#1f78b4")}
CAPTION = Caption("A fire", ("one line", "another"), "Whose data it is " * 30)


def opened(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    image.load()
    return image


def random_raster(shape, seed=0, dtype=np.uint8):
    rng = np.random.default_rng(seed)
    mask = rng.choice([0, 1, 2, np.iinfo(dtype).max], shape).astype(dtype)
    return rng.integers(0, 256, (*shape, 3)).astype(np.uint8), mask


@LAWS
@given(
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.tuples(st.floats(0.1, 1000), st.floats(0.1, 1000)),
    st.sampled_from([np.uint8, np.uint16]),
)
def test_a_raster_of_any_shape_gives_a_page_of_one_width(shape, pixel_m, dtype):
    image, mask = random_raster(shape, dtype=dtype)
    page = opened(render_raster_preview(image, mask, LEGEND, CAPTION, pixel_m))
    assert page.size[0] == 1200
    assert page.size[1] < 1300


def test_the_same_arguments_give_the_same_bytes():
    image, mask = random_raster((40, 50))
    first = render_raster_preview(image, mask, LEGEND, CAPTION, (10.0, 10.0))
    assert first == render_raster_preview(image.copy(), mask.copy(), dict(LEGEND), CAPTION, (10.0, 10.0))
    mask[20, 20] = 1 if mask[20, 20] != 1 else 0
    assert first != render_raster_preview(image, mask, LEGEND, CAPTION, (10.0, 10.0))


def test_labels_without_a_legend_leave_the_picture_alone():
    image, _ = random_raster((30, 40))
    mask = np.full((30, 40), 7, np.uint8)
    np.testing.assert_array_equal(overlay(image, mask, LEGEND), image)


def test_outlines_have_the_class_colour_and_what_was_not_observed_is_grey():
    image = np.full((40, 40, 3), 90, np.uint8)
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 1
    mask[:5, :5] = 255
    drawn = overlay(image, mask, LEGEND)
    assert tuple(drawn[10, 20]) == rgb("#ff4d00")
    assert tuple(drawn[35, 35]) == (90, 90, 90)
    inside = drawn[20, 20].astype(int)
    assert inside[0] > 90 > inside[2]
    assert np.ptp(drawn[:5, :5].astype(int), axis=-1).max() < 20
    assert (drawn[:5, :5] > 120).all()


@LAWS
@given(st.integers(0, 99))
def test_a_stretch_uses_the_observed_pixels_alone(seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(500, 100, (20, 30, 3))
    observed = rng.random((20, 30)) < 0.8
    result = stretch(image, observed)
    changed = np.where(observed[..., None], image, 1e9)
    np.testing.assert_array_equal(result, stretch(changed, observed))
    assert (result[~observed] == 0).all()
    np.testing.assert_array_equal(stretch(image * 3 + 7, observed), result)


def test_a_stretch_of_a_constant_or_of_nothing_is_defined():
    assert stretch(np.full((3, 3, 3), 5.0), np.ones((3, 3), bool)).shape == (3, 3, 3)
    assert not stretch(np.full((3, 3), np.nan), np.zeros((3, 3), bool)).any()


def test_the_bar_has_a_round_length():
    assert [round_length(x) for x in (1.0, 1.9, 2.0, 4.99, 5.0, 99.0, 0.03)] == [1, 1, 2, 2, 5, 50, 0.02]


def test_texts_are_spelled_with_the_letters_of_the_font():
    assert plain("Fl\u00e4che 3 km\u00b2 \u00d7 5 \u00b5m \u2013 Br\u00fbl\u00e9") == "Flache 3 km2 x 5 um - Brule"


def test_long_texts_are_broken_between_words():
    lines = wrapped("word " * 100, 13, 400)
    assert len(lines) > 3
    assert " ".join(lines).split() == ["word"] * 100


def volume(tmp_path: Path, array, affine, codes="SAR"):
    path = tmp_path / "v.nii"
    nib.save(nib.Nifti1Image(array, affine), path)
    return describe_volume("scene", path, codes, None, tmp_path)


@pytest.mark.parametrize("file_axes", [(1, 1, 1), (-1, -1, 1), (-1, 1, -1)])
@pytest.mark.parametrize("codes", ["SAR", "RAS", "ILP", "PRS"])
def test_the_patient_lies_as_radiologists_look_at_him(tmp_path, file_axes, codes):
    # Voxel values are world coordinates: so the picture tells which side is where.
    shape = (5, 6, 7)
    affine = np.diag([*(np.array(file_axes) * (1.0, 2.0, 3.0)), 1.0])
    index = np.indices(shape)
    for axis, name in enumerate("RAS"):
        world = (index[axis] * affine[axis, axis]).astype(np.float32)
        scene = volume(tmp_path, world, affine, codes)
        mask = np.zeros(scene.frame.native_shape, np.uint8)
        _, axial, coronal, sagittal = volume_preview_slices(scene, lambda box, m=mask: m[box.slices])
        # Rows run towards posterior (axial) or inferior; columns towards left, or posterior (sagittal).
        down = {"A": [axial], "S": [coronal, sagittal]}
        right = {"R": [axial, coronal], "A": [sagittal]}
        for section in down.get(name, []):
            assert (np.diff(section.image, axis=0) < 0).all()
        for section in right.get(name, []):
            assert (np.diff(section.image, axis=1) < 0).all()
    assert axial.pixel_mm == (2.0, 1.0)
    assert coronal.pixel_mm == (3.0, 1.0)
    assert sagittal.pixel_mm == (3.0, 2.0)
    assert (axial.edges, coronal.edges, sagittal.edges) == (tuple("APRL"), tuple("SIRL"), tuple("SIAP"))


def test_the_axial_slice_with_the_largest_area_comes_first(tmp_path):
    scene = volume(tmp_path, np.random.default_rng(0).normal(size=(9, 9, 40)).astype(np.float32), np.eye(4))
    mask = np.zeros(scene.frame.native_shape, np.uint8)
    mask[5, 2:4, 2:4] = 1
    mask[31, 1:8, 1:8] = 1
    mask[20] = 255
    sections = volume_preview_slices(scene, lambda box: mask[box.slices], (5.2, 3.0, 3.0))
    assert [section.title.split()[:2] for section in sections] == [
        ["axial", "32"],
        ["axial", "6"],
        ["coronal", "4"],
        ["sagittal", "4"],
    ]
    assert sections[0].mask.sum() == 49
    assert sections[0].cross is None
    assert sections[1].cross == (5.0, 5.0)


def test_an_axial_slice_that_shows_it_all_is_shown_without_its_mask_too(tmp_path):
    scene = volume(tmp_path, np.zeros((9, 9, 9), np.float32), np.eye(4))
    mask = np.zeros((9, 9, 9), np.uint8)
    mask[4, 2:6, 2:6] = 1
    first, second, *_ = volume_preview_slices(scene, lambda box: mask[box.slices], (4, 4, 4))
    assert (first.is_marked, second.is_marked) == (False, True)
    np.testing.assert_array_equal(first.mask, second.mask)


@LAWS
@given(st.tuples(*[st.integers(1, 40)] * 3), st.tuples(*[st.floats(0.2, 8)] * 3), st.booleans())
def test_a_volume_of_any_shape_gives_the_same_page_twice(tmp_path, shape, spacing, has_holes):
    rng = np.random.default_rng(0)
    array = rng.normal(size=shape).astype(np.float32)
    if has_holes:
        array[rng.random(shape) < 0.5] = np.nan
    scene = volume(tmp_path, array, np.diag([*spacing, 1.0]))
    mask = rng.choice([0, 1, 255], scene.frame.native_shape).astype(np.uint8)
    sections = volume_preview_slices(scene, lambda box: mask[box.slices])
    first = render_volume_preview(sections, LEGEND, CAPTION)
    assert opened(first).size[0] == 1200
    assert first == render_volume_preview(sections, LEGEND, CAPTION)
