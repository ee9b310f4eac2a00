"""What a tile sees beyond the scene: NumPy's mirrors, and the mean where nothing was observed."""

import numpy as np
from arrays import ArrayReader
from hypothesis import given, settings
from hypothesis import strategies as st

from models.normalization import ResolvedNormalization
from models.position import positions
from tasks.geometry.box import Box
from tasks.geometry.frame import Frame
from tasks.segment.window import read_normalised

NUMBERS = ResolvedNormalization(clip=((-1.0, 1.0), (-2.0, 2.0)), mean=(0.1, -0.2), std=(0.5, 2.0))


def scene(shape):
    rng = np.random.default_rng(sum(shape))
    image = rng.normal(size=(2, *shape)).astype(np.float32)
    valid = rng.random(shape) > 0.2
    return ArrayReader(image, valid, Frame(native_shape=shape, model_shape=shape, scale=(1.0,) * len(shape)))


def whole(reader, shape):
    return read_normalised(reader, Box.of_shape(shape), shape, NUMBERS).inputs


@given(st.tuples(st.integers(1, 9), st.integers(1, 12)), st.tuples(*[st.integers(0, 20)] * 4))
@settings(max_examples=60)
def test_beyond_the_scene_a_window_is_numpys_pad(shape, pads):
    reader = scene(shape)
    top, bottom, left, right = pads
    window = Box((-top, -left), (shape[0] + bottom, shape[1] + right))
    width = ((0, 0), (top, bottom), (left, right))
    mirrored = read_normalised(reader, window, shape, NUMBERS).inputs
    np.testing.assert_array_equal(mirrored, np.pad(whole(reader, shape), width, mode="reflect"))


def test_what_is_not_observed_is_the_mean():
    reader = scene((30, 20))
    inputs = whole(reader, (30, 20))
    assert (inputs[:, ~reader.seen] == 0).all()
    expected = (np.clip(reader.image[0], -1, 1) - 0.1) / 0.5
    np.testing.assert_allclose(inputs[0][reader.seen], expected[reader.seen], rtol=1e-6)


@given(st.tuples(st.integers(1, 9), st.integers(1, 12)), st.tuples(*[st.integers(0, 20)] * 4))
@settings(max_examples=60)
def test_positions_depend_on_the_scene_not_on_the_window(shape, pads):
    reader = scene(shape)
    top, bottom, left, right = pads
    window = Box((-top, -left), (shape[0] + bottom, shape[1] + right))
    seen = read_normalised(reader, window, shape, NUMBERS, position=True).inputs
    whole_scene = positions((0, 0), shape, shape)
    assert whole_scene.min() >= -1
    assert whole_scene.max() <= 1
    # Alike seen from both sides: a scene may be turned and mirrored.
    np.testing.assert_allclose(whole_scene, whole_scene[:, ::-1, ::-1], atol=1e-6)
    assert np.all(np.diff(whole_scene[0, (shape[0] - 1) // 2 + 1 :, 0]) > 0)
    expected = np.pad(whole_scene, ((0, 0), (top, bottom), (left, right)), mode="reflect")
    np.testing.assert_array_equal(seen[2:], expected)
    without = read_normalised(reader, window, shape, NUMBERS).inputs
    np.testing.assert_array_equal(seen[:2], without)
