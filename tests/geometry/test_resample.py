from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from skimage.transform import resize

from tasks.geometry import resample
from tasks.geometry.box import Box
from tasks.geometry.frame import Frame

LAWS = settings(max_examples=40)
SCALES = st.one_of(st.sampled_from([1.0, 0.5, 2.0, 1 / 3, 3.27 / 1.5]), st.floats(0.2, 4.0))


@st.composite
def frames(draw):
    shape = tuple(draw(st.lists(st.integers(1, 12), min_size=1, max_size=3)))
    scale = tuple(draw(SCALES) for _ in shape)
    model = tuple(max(1, math.ceil(n * s - 0.01)) for n, s in zip(shape, scale, strict=True))
    return Frame(native_shape=shape, model_shape=model, scale=scale)


@st.composite
def windows(draw, shape):
    start = tuple(draw(st.integers(0, n - 1)) for n in shape)
    return Box(start, tuple(draw(st.integers(s + 1, n)) for s, n in zip(start, shape, strict=True)))


def field(shape, seed, leading=()):
    return np.random.default_rng(seed).normal(size=(*leading, *shape)).astype(np.float32)


@LAWS
@given(st.data(), frames(), st.integers(0, 9))
def test_a_window_is_the_cut_of_the_whole_in_both_directions(data, frame, seed):
    for source_shape, target_shape, needed, convert in (
        (frame.native_shape, frame.model_shape, resample.native_box, resample.to_model),
        (frame.model_shape, frame.native_shape, resample.model_box, resample.to_native),
    ):
        source = field(source_shape, seed, leading=(2,))
        whole = convert(source, (0,) * len(source_shape), Box.of_shape(target_shape), frame)
        target = data.draw(windows(target_shape))
        box = needed(target, frame)
        part = convert(source[(slice(None), *box.slices)], box.start, target, frame)
        assert part.dtype == np.float32
        np.testing.assert_array_equal(part, whole[(slice(None), *target.slices)])


@LAWS
@given(frames(), st.integers(0, 9))
def test_the_interpolation_agrees_with_scipy(frame, seed):
    source = field(frame.native_shape, seed)
    result = resample.to_model(source, (0,) * source.ndim, Box.of_shape(frame.model_shape), frame)
    axes = [(np.arange(n) + 0.5) / s - 0.5 for n, s in zip(frame.model_shape, frame.scale, strict=True)]
    expected = map_coordinates(source.astype(np.float64), np.meshgrid(*axes, indexing="ij"), order=1, mode="nearest")
    np.testing.assert_allclose(result, expected, atol=1e-5)


@LAWS
@given(frames(), st.floats(-1e6, 1e6, width=32))
def test_a_constant_survives_exactly(frame, value):
    source = np.full(frame.model_shape, value, np.float32)
    result = resample.to_native(source, (0,) * source.ndim, Box.of_shape(frame.native_shape), frame)
    assert result.shape == frame.native_shape
    assert (result == np.float32(value)).all()


@LAWS
@given(st.data(), st.lists(st.integers(1, 9), min_size=1, max_size=3), st.integers(0, 9))
def test_scale_one_is_the_identity_bit_for_bit(data, shape, seed):
    frame = Frame(native_shape=tuple(shape), model_shape=tuple(shape), scale=(1.0,) * len(shape))
    source = field(shape, seed)
    source.flat[0] = -0.0
    target = data.draw(windows(frame.native_shape))
    assert resample.model_box(target, frame) == target
    result = resample.to_native(source, (0,) * len(shape), target, frame)
    assert result.tobytes() == source[target.slices].tobytes()


@LAWS
@given(st.data(), frames())
def test_the_source_window_lies_inside_the_source(data, frame):
    target = data.draw(windows(frame.native_shape))
    box = resample.model_box(target, frame)
    assert not box.is_empty
    assert box.intersection(Box.of_shape(frame.model_shape)) == box


@LAWS
@given(frames(), st.integers(0, 9))
def test_a_torch_tensor_gives_what_an_array_gives(frame, seed):
    torch = pytest.importorskip("torch")
    source = field(frame.model_shape, seed, leading=(3,))
    target = Box.of_shape(frame.native_shape)
    origin = (0,) * len(frame.model_shape)
    expected = resample.to_native(source, origin, target, frame)
    result = resample.to_native(torch.from_numpy(source), origin, target, frame)
    assert isinstance(result, torch.Tensor)
    np.testing.assert_array_equal(result.numpy(), expected)


def test_a_linear_ramp_stays_a_ramp_inside():
    frame = Frame(native_shape=(40,), model_shape=(20,), scale=(0.5,))
    ramp = np.arange(40, dtype=np.float32)
    result = resample.to_model(ramp, (0,), Box((0,), (20,)), frame)
    np.testing.assert_array_equal(result, np.arange(20) * 2 + 0.5)


@st.composite
def cropped_frames(draw):
    shape = tuple(draw(st.lists(st.integers(2, 14), min_size=1, max_size=3)))
    start = tuple(draw(st.integers(0, n - 1)) for n in shape)
    crop = Box(start, tuple(draw(st.integers(s + 1, n)) for s, n in zip(start, shape, strict=True)))
    model = tuple(draw(st.integers(1, 20)) for _ in shape)
    scale = tuple(after / before for after, before in zip(model, crop.shape, strict=True))
    orders = tuple(draw(st.sampled_from([(0, 0), (1, 1), (3, 1)])) for _ in shape)
    return Frame(native_shape=shape, model_shape=model, scale=scale, crop=crop, orders=orders)


@LAWS
@given(st.data(), cropped_frames(), st.integers(0, 9))
def test_a_window_of_a_spline_over_a_crop_is_the_cut_of_the_whole(data, frame, seed):
    for source_shape, target_shape, needed, convert in (
        (frame.native_shape, frame.model_shape, resample.native_box, resample.to_model),
        (frame.model_shape, frame.native_shape, resample.model_box, resample.to_native),
    ):
        source = field(source_shape, seed, leading=(2,))
        whole = convert(source, (0,) * len(source_shape), Box.of_shape(target_shape), frame)
        target = data.draw(windows(target_shape))
        box = needed(target, frame)
        assert box.intersection(Box.of_shape(source_shape)) == box
        part = convert(source[(slice(None), *box.slices)], box.start, target, frame)
        np.testing.assert_array_equal(part, whole[(slice(None), *target.slices)])


@LAWS
@given(st.data(), st.integers(0, 9))
def test_the_cubic_spline_is_that_of_scikit_image(data, seed):
    shape = tuple(data.draw(st.lists(st.integers(2, 14), min_size=2, max_size=3)))
    model = tuple(data.draw(st.integers(1, 20)) for _ in shape)
    scale = tuple(after / before for after, before in zip(model, shape, strict=True))
    frame = Frame(native_shape=shape, model_shape=model, scale=scale, orders=((3, 1),) * len(shape))
    source = field(shape, seed)
    result = resample.to_model(source, (0,) * len(shape), Box.of_shape(model), frame)
    expected = resize(source.astype(np.float64), model, 3, mode="edge", anti_aliasing=False, clip=False)
    np.testing.assert_allclose(result, expected, atol=1e-5)
