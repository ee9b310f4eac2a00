"""Tiles cover every pixel, lie on the network's stride, and do not depend on blocks."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import axes

from tasks.errors import PlanError
from tasks.geometry.box import Box, split
from tasks.segment.lattice import Lattice, TileAxis


@given(axes())
@settings(max_examples=300)
def test_cores_cover_the_axis_and_overlap_as_asked(axis: TileAxis) -> None:
    cores = axis.cores
    assert cores[0][0] == 0
    assert cores[-1][1] == axis.length
    for (start, stop), (next_start, next_stop) in pairwise(cores):
        assert start < next_start <= stop
        assert stop < next_stop or next_stop == axis.length
        assert stop - next_start >= axis.overlap


@given(axes())
@settings(max_examples=300)
def test_origins_are_multiples_of_the_stride_and_scores_reach_the_core(axis: TileAxis) -> None:
    for origin, (start, stop) in zip(axis.origins, axis.cores, strict=True):
        assert origin % axis.stride == 0
        assert origin + axis.margin <= start
        assert stop <= origin + axis.tile - axis.margin


@given(axes())
@settings(max_examples=200)
def test_inner_cores_keep_their_halo(axis: TileAxis) -> None:
    for i, (origin, (start, stop)) in enumerate(zip(axis.origins, axis.cores, strict=True)):
        if i > 0:
            assert start - origin >= axis.halo
        if i < len(axis.origins) - 1:
            assert origin + axis.tile - stop >= axis.halo


@given(axes(), axes(), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=100)
def test_every_pixel_of_a_block_gets_all_of_its_tiles(
    rows: TileAxis, cols: TileAxis, block_rows: int, block_cols: int
) -> None:
    lattice = Lattice((rows, cols))
    whole = Box.of_shape((rows.length, cols.length))
    everywhere = {tile.index: tile for strip in lattice.strips(whole) for tile in strip}
    for block in split(whole.shape, (block_rows * 4, block_cols * 4)):
        here = {tile.index for strip in lattice.strips(block) for tile in strip}
        wanted = {i for i, tile in everywhere.items() if not tile.core.intersection(block).is_empty}
        assert here == wanted


def test_a_halo_that_eats_the_tile_is_refused_by_name() -> None:
    with pytest.raises(PlanError, match="leaves no room for halo 32"):
        TileAxis(length=100, tile=64, halo=32, overlap=0).step  # noqa: B018


def test_a_tile_off_the_stride_is_refused_with_the_next_that_fits() -> None:
    with pytest.raises(PlanError, match=r"tiling\.tile=64"):
        TileAxis(length=100, tile=50, halo=0, overlap=0, stride=32).step  # noqa: B018
