from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.card import FixedNormalization, NoNormalization, SceneNormalization
from models.normalization import normalise, resolve, scene_statistics

VALUES = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 3), st.integers(1, 60)), elements=st.floats(-50, 900, width=32)
)


@settings(max_examples=40)
@given(VALUES)
def test_normalised_values_lie_between_the_normalised_clips(values):
    resolved = scene_statistics(values, SceneNormalization())
    before = values.copy()
    result = normalise(values, resolved)
    assert result.dtype == np.float32
    assert np.array_equal(values, before)
    assert np.isfinite(result).all()
    for channel, (low, high), mean, std in zip(result, resolved.clip, resolved.mean, resolved.std, strict=True):
        tolerance = 1e-3 * (1 + abs(mean)) / std
        assert channel.min() >= (low - mean) / std - tolerance
        assert channel.max() <= (high - mean) / std + tolerance


@settings(max_examples=40)
@given(VALUES, st.sampled_from([2.0, 4.0, 0.5]))
def test_scene_normalisation_does_not_feel_the_unit_of_intensity(values, factor):
    values = np.abs(values) + 1
    first = normalise(values, scene_statistics(values, SceneNormalization()))
    scaled = values * np.float32(factor)
    np.testing.assert_allclose(normalise(scaled, scene_statistics(scaled, SceneNormalization())), first, atol=2e-2)


@settings(max_examples=20)
@given(VALUES)
def test_air_does_not_enter_the_statistics(values):
    with_air = np.concatenate([values, np.zeros_like(values)], axis=1)
    assert scene_statistics(with_air, SceneNormalization()) == scene_statistics(values, SceneNormalization())


def test_statistics_are_those_of_numpy_after_clipping():
    values = np.random.default_rng(0).gamma(2, 100, (2, 5000)).astype(np.float32)
    resolved = scene_statistics(values, SceneNormalization(percentiles=(1, 98)))
    for channel, clip, mean, std in zip(values, resolved.clip, resolved.mean, resolved.std, strict=True):
        np.testing.assert_allclose(clip, np.percentile(channel.astype(np.float64), (1, 98)))
        np.testing.assert_allclose((mean, std), (np.clip(channel, *clip).mean(), np.clip(channel, *clip).std()), 1e-5)


def test_fixed_and_no_normalisation_look_at_no_values():
    fixed = FixedNormalization(clip=((0, 10),), mean=(5,), std=(2,))
    assert np.array_equal(normalise(np.array([[-1, 5, 99]], np.float32), resolve(fixed, None)), [[-2.5, 0, 2.5]])
    assert resolve(NoNormalization(), None) is None
