"""Hypothesis strategies that several tests share."""

from hypothesis import strategies as st

from tasks.segment.lattice import TileAxis


@st.composite
def axes(draw: st.DrawFn) -> TileAxis:
    stride = draw(st.sampled_from([1, 2, 4, 8]))
    tile = stride * draw(st.integers(2, 12))
    room = tile - stride
    margin = draw(st.integers(0, room // 4))
    halo = draw(st.integers(0, room // 4))
    inner = max(margin, halo)
    step = (tile - 2 * inner) // stride * stride
    overlap = draw(st.integers(0, max(0, (step - stride) // 2)))
    length = draw(st.one_of(st.sampled_from([1, tile - 1, tile, tile + 1, 2 * tile + 3]), st.integers(1, 5 * tile)))
    return TileAxis(length=length, tile=tile, halo=halo, overlap=overlap, stride=stride, margin=margin)
