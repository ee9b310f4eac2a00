"""Weights sum to one, constants survive, and a block's sums have the bits of the whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import windows
from strategies import axes

from tasks.geometry.box import Box, split
from tasks.segment.blend import SlabBlender, axis_weights
from tasks.segment.lattice import Lattice, TileAxis


@given(axes(), st.sampled_from(["gaussian", "hann", "core"]))
@settings(max_examples=300)
def test_weights_of_all_tiles_sum_to_one_everywhere(axis: TileAxis, blend: str) -> None:
    total = np.zeros(axis.length)
    for (start, stop), weights in zip(axis.cores, axis_weights(axis, blend), strict=True):
        assert (weights >= 0).all()
        total[start:stop] += weights
    np.testing.assert_allclose(total, 1, atol=3e-7)


def blended(lattice: Lattice, region: Box, blend: str, scores_of) -> np.ndarray:
    blender = SlabBlender(lattice, region, blend)
    whole = np.full((scores_of.classes, *region.shape), np.nan, np.float32)

    def keep(slabs) -> None:
        for row, slab in slabs:
            first = row - region.start[0]
            whole[:, first : first + slab.shape[1]] = slab

    for strip in lattice.strips(region):
        keep(blender.finished(max(strip[0].core.start[0], region.start[0])))
        for tile in strip:
            blender.add(tile, scores_of(tile))
    keep(blender.finished(region.stop[0]))
    return whole


class RandomScores:
    """Scores that depend on the tile, as those of a network with too small a halo do."""

    classes = 3

    def __init__(self, lattice: Lattice) -> None:
        self.margin = tuple(axis.margin for axis in lattice.axes)

    def __call__(self, tile) -> np.ndarray:
        shape = tuple(n - 2 * m for n, m in zip(tile.window.shape, self.margin, strict=True))
        rng = np.random.default_rng(hash(tile.index) % 2**32)
        return rng.random((self.classes, *shape), dtype=np.float32)


class ConstantScores(RandomScores):
    def __call__(self, tile) -> np.ndarray:
        return np.full_like(super().__call__(tile), 0.625)


lattices = st.one_of(
    st.tuples(axes(), axes()).map(Lattice),
    st.tuples(
        st.builds(TileAxis, length=st.integers(1, 11), tile=st.just(6), halo=st.just(1), overlap=st.just(1)),
        st.builds(TileAxis, length=st.integers(1, 19), tile=st.just(8), halo=st.just(0), overlap=st.just(2)),
        st.builds(TileAxis, length=st.integers(1, 9), tile=st.just(1), halo=st.just(0), overlap=st.just(0)),
    ).map(Lattice),
)


@given(lattices, st.sampled_from(["gaussian", "hann", "core"]))
@settings(max_examples=60)
def test_a_constant_field_survives_blending(lattice: Lattice, blend: str) -> None:
    whole = Box.of_shape(tuple(axis.length for axis in lattice.axes))
    result = blended(lattice, whole, blend, ConstantScores(lattice))
    np.testing.assert_allclose(result, 0.625, rtol=3e-6)


@given(lattices, st.sampled_from(["gaussian", "hann", "core"]), st.integers(1, 30))
@settings(max_examples=60)
def test_a_block_has_the_bits_of_the_whole(lattice: Lattice, blend: str, side: int) -> None:
    whole = Box.of_shape(tuple(axis.length for axis in lattice.axes))
    scores_of = RandomScores(lattice)
    expected = blended(lattice, whole, blend, scores_of)
    for block in split(whole.shape, (side,) * len(whole.shape)):
        part = blended(lattice, block, blend, scores_of)
        np.testing.assert_array_equal(part, expected[(slice(None), *block.slices)])


def test_hann_weights_of_half_overlapping_tiles_are_the_window_of_scipy() -> None:
    axis = TileAxis(length=40 * 16, tile=64, halo=0, overlap=32)
    inner = axis_weights(axis, "hann")[3]
    # Taken in the middle of pixels: every second value of a window of twice as many.
    np.testing.assert_allclose(inner, windows.hann(2 * 64 + 1)[1::2], atol=1e-6)
    assert inner.min() > 0


def test_core_stitching_gives_each_pixel_to_one_tile() -> None:
    axis = TileAxis(length=1000, tile=128, halo=16, overlap=0)
    for weights in axis_weights(axis, "core"):
        assert set(np.unique(weights)) <= {0.0, 1.0}


def test_a_tiles_weight_has_fallen_where_its_core_ends() -> None:
    axis = TileAxis(length=2000, tile=512, halo=16, overlap=32)
    inner = axis_weights(axis, "gaussian")[1]
    assert inner[0] < 0.005
    assert inner[-1] < 0.005
    assert inner[len(inner) // 2] == pytest.approx(1)
