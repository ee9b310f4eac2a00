"""Instances from a class map: against scipy, scikit-image and cc3d on the whole array, whatever the windows."""

import cc3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from masks import blobs
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

from tasks.errors import JobError
from tasks.instances import areas as areas_module
from tasks.instances import volume_areas as volume_module
from tasks.instances.areas import Spool, find_areas
from tasks.instances.borders import REACH, grow, grow_by_windows
from tasks.instances.split import peaks
from tasks.instances.volume_areas import find_volume_areas
from tasks.jobs.instances import InstanceRules, InstanceSettings, instance_rules

seeds = st.integers(0, 10_000)


def class_map(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Blobs of two classes that touch, and a few pixels that were not observed."""
    values = blobs(shape, seed, 0.5, 2.0)
    values[values > 0] += blobs(shape, seed + 1, 0.4, 3.0)[values > 0]
    values[blobs(shape, seed + 2, 0.03, 1.0) > 0] = 255
    return values


def painted(values: np.ndarray, rules: InstanceRules, window: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    ids = np.full(values.shape, -1)
    with Spool() as spool:
        found = find_areas(lambda box: values[box.slices], values.shape, rules, spool, window)
        for box, numbers in found.windows():
            ids[box.slices] = numbers
    return ids, found.classes


def by_first_pixel(labels: np.ndarray, min_pixels: int = 1) -> np.ndarray:
    """Number labels as the law says, one by one."""
    ids = np.zeros(labels.shape, np.int64)
    for label in dict.fromkeys(labels.ravel().tolist()):
        if label and (labels == label).sum() >= min_pixels:
            ids[labels == label] = ids.max() + 1
    return ids


def cut_whole(values: np.ndarray, rules: InstanceRules, spacing: tuple[float, ...]) -> np.ndarray:
    """The same by the libraries, each component on the whole array."""
    chosen = np.where(np.isin(values, rules.classes), values, 0)
    components = cc3d.connected_components(chosen, connectivity=rules.connectivity)
    labels = np.zeros(values.shape, np.int64)
    structure = ndimage.generate_binary_structure(values.ndim, rules.rank)
    for number in range(1, int(components.max(initial=0)) + 1):
        inside = components == number
        parts = inside.astype(np.int64)
        if rules.min_distance is not None and not inside.all():
            distance = ndimage.distance_transform_edt(inside, sampling=spacing)
            markers = peaks(distance, inside, spacing, rules.min_distance)
            parts = watershed(-distance, markers, mask=inside, connectivity=structure)
        labels[inside] = parts[inside] + labels.max()
    return by_first_pixel(labels, rules.min_pixels)


@settings(max_examples=60)
@given(seed=seeds, distance=st.integers(1, 9))
def test_peaks_are_those_of_scikit_image(seed, distance):
    height = ndimage.gaussian_filter(np.random.default_rng(seed).random((40, 37)), 1.5)
    found = peaks(height, np.ones(height.shape, bool), (1.0, 1.0), distance)
    expected = peak_local_max(height, min_distance=distance, exclude_border=False, p_norm=np.inf)
    assert [np.argwhere(found == number).tolist() for number in range(1, found.max() + 1)] == [
        [place] for place in expected.tolist()
    ]


@settings(max_examples=25)
@given(
    seed=seeds,
    rows=st.integers(1, 50),
    cols=st.integers(1, 50),
    window=st.sampled_from([(7, 11), (64, 64), (16, 50)]),
    distance=st.sampled_from([None, 2.0, 5.0]),
    connectivity=st.sampled_from([4, 8]),
    min_pixels=st.sampled_from([1, 12]),
)
def test_objects_of_a_raster_are_those_of_the_whole_array_whatever_the_windows(
    seed, rows, cols, window, distance, connectivity, min_pixels
):
    values = class_map((rows, cols), seed)
    rules = InstanceRules(classes=(1, 2), connectivity=connectivity, min_distance=distance, min_pixels=min_pixels)
    ids, classes = painted(values, rules, window)
    np.testing.assert_array_equal(ids, cut_whole(values, rules, (1.0, 1.0)))
    assert all((values[ids == number] == label).all() for number, label in enumerate(classes.tolist(), start=1))


@settings(max_examples=15)
@given(
    seed=seeds,
    shape=st.tuples(*[st.integers(1, 14)] * 3),
    distance=st.sampled_from([None, 3.0, 6.0]),
    connectivity=st.sampled_from([6, 18, 26]),
)
def test_objects_of_a_volume_are_those_of_the_whole_array(seed, shape, distance, connectivity):
    values, spacing = class_map(shape, seed), (2.5, 1.0, 0.8)
    rules = InstanceRules(
        classes=(1, 2), connectivity=connectivity, min_distance=distance, min_pixels=3, spacing=spacing
    )
    before = values.copy()
    found = find_volume_areas(values, rules)
    np.testing.assert_array_equal(found.ids, cut_whole(values, rules, spacing))
    np.testing.assert_array_equal(values, before)
    labels = np.concatenate([[0], found.classes])
    np.testing.assert_array_equal(labels[found.ids], np.where(found.ids > 0, values, 0))


def test_two_discs_that_touch_are_two_objects_and_one_disc_is_one():
    rows, cols = np.mgrid[:60, :100]
    discs = [np.hypot(rows - 30, cols - centre) < 20 for centre in (25, 60)]
    values = (discs[0] | discs[1]).astype(np.uint8)
    ids, classes = painted(values, InstanceRules(classes=(1,), connectivity=8, min_distance=10), (16, 16))
    assert classes.tolist() == [1, 1]
    assert ids[30, 25] == 1
    assert ids[30, 60] == 2
    assert (ids[30, 20:42] == 1).all()
    assert painted(discs[0].astype(np.uint8), InstanceRules(classes=(1,), connectivity=8, min_distance=10), (16, 16))[
        1
    ].tolist() == [1]


def test_a_long_field_is_one_object():
    values = np.zeros((40, 200), np.uint8)
    values[5:25, 4:190] = 1
    assert painted(values, InstanceRules(classes=(1,), connectivity=8, min_distance=10), (64, 64))[1].tolist() == [1]


def test_a_component_that_is_too_large_stays_whole_and_is_counted(monkeypatch):
    values = np.zeros((20, 60), np.uint8)
    values[2:18, 2:20] = values[2:18, 30:58] = values[9:11, :60] = 1
    rules = InstanceRules(classes=(1,), connectivity=4, min_distance=8)
    assert len(painted(values, rules, (64, 64))[1]) > 1
    monkeypatch.setattr(areas_module, "MOST_PIXELS", 1000)
    monkeypatch.setattr(volume_module, "MOST_PIXELS", 1000)
    with Spool() as spool:
        whole = find_areas(lambda box: values[box.slices], (20, 60), rules, spool)
    assert (whole.n, whole.n_whole) == (1, 1)
    cubes = InstanceRules(classes=(1,), connectivity=6, min_distance=8, spacing=(1.0, 1.0, 1.0))
    volume = find_volume_areas(values[None], cubes)
    assert (len(volume.classes), volume.n_whole) == (1, 1)


@settings(max_examples=25)
@given(seed=seeds, rank=st.sampled_from([1, 2]), reach=st.sampled_from([1, 3, 64]))
def test_border_pixels_go_to_the_nearest_object_through_the_border(seed, rank, reach):
    border = blobs((24, 31), seed, 0.5) > 0
    ids = ndimage.label(~border & (blobs((24, 31), seed + 1, 0.3) > 0))[0].astype(np.uint32)
    grown = ids.copy()
    grow(grown, border, rank, reach)
    structure = ndimage.generate_binary_structure(2, rank)
    steps = np.full((int(ids.max()) + 1, *ids.shape), 999)
    for number in range(1, len(steps)):
        here = ids == number
        steps[number][here] = 0
        for step in range(1, reach + 1):
            here = here | (ndimage.binary_dilation(here, structure) & border & (ids == 0))
            steps[number][here & (steps[number] == 999)] = step
    expected = np.where(steps.min(axis=0) < 999, steps.argmin(axis=0), 0)
    assert (grown[ids > 0] == ids[ids > 0]).all()
    np.testing.assert_array_equal(grown > 0, expected > 0)
    chosen = np.take_along_axis(steps, grown[None].astype(np.int64), axis=0)[0]
    assert (chosen == steps.min(axis=0))[grown > 0].all()


def test_a_window_with_a_margin_grows_as_the_whole_does():
    border = blobs((60, 60), 3, 0.6) > 0
    ids = (~border * np.arange(1, 3601).reshape(60, 60)).astype(np.uint32)
    whole, part = ids.copy(), ids[15:45, 15:45].copy()
    grow(whole, border, 2, 5)
    grow(part, border[15:45, 15:45], 2, 5)
    np.testing.assert_array_equal(part[5:-5, 5:-5], whole[20:40, 20:40])


@pytest.mark.parametrize(
    ("shape", "window"), [((30, 300), (7, 40)), ((30, 300), (30, 300)), ((12, 20, 160), (5, 8, 30))]
)
def test_borders_grown_by_windows_are_those_of_the_whole(shape, window):
    border = blobs(shape, 5, 0.6) > 0
    # A corridor that is longer than what is reached through it.
    border[0] = True
    ids = np.where(border, 0, np.arange(1, border.size + 1).reshape(shape)).astype(np.uint32)
    border[0, ..., 0], ids[0, ..., 0] = False, 1
    ids[1:3], border[1:3] = 0, False
    whole, painted = ids.copy(), ids.copy()
    grow(whole, border, len(shape))
    grow_by_windows(lambda box: border[box.slices], shape, window, len(shape), painted)
    np.testing.assert_array_equal(painted, whole)
    assert (whole[0, ..., 1 : REACH + 1] == 1).all()
    assert (whole[0, ..., REACH + 1 :] == 0).all()


NAMES = ["background", "field", "border"]


def test_rules_name_classes_or_number_them():
    rules = instance_rules(InstanceSettings(split="border", border="border"), NAMES)
    assert (rules.classes, rules.border, rules.connectivity, rules.min_distance) == ((1,), 2, 8, None)
    rules = instance_rules(InstanceSettings(classes=("field", 2), split="distance"), NAMES, (3.0, 1.0, 1.0))
    assert (rules.classes, rules.border, rules.connectivity, rules.min_distance) == ((1, 2), None, 26, 5.0)


@pytest.mark.parametrize(
    ("wrong", "spacing", "told"),
    [
        ({"classes": ["forest"]}, None, "no class 'forest'"),
        ({"classes": [3]}, None, "no class 3"),
        ({"split": "border"}, None, "names a class where"),
        ({"border": "border"}, None, "names a class where"),
        ({"split": "border", "border": "field", "classes": [1]}, None, "objects lie between borders"),
        ({"connectivity": 8}, (1.0, 1.0, 1.0), "one of 6, 18, 26"),
    ],
)
def test_settings_that_do_not_go_with_the_model_are_refused(wrong, spacing, told):
    with pytest.raises(JobError, match=told):
        instance_rules(InstanceSettings.model_validate(wrong), NAMES, spacing)
