"""Masks that metrics are tried on."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import gaussian_filter


def blobs(shape: tuple[int, ...], seed: int, share: float = 0.4, sigma: float = 1.5) -> np.ndarray:
    """Smooth random shapes that fill about ``share`` of the window, some of them cut by its edge."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    return (field > np.quantile(field, 1 - share)).astype(np.uint8)


def cut_slabs(monkeypatch, pixels: int) -> None:
    """Make slabs so small that a test's masks have seams."""
    monkeypatch.setattr("tasks.answers.metrics.pair.SLAB_PIXELS", pixels)


@st.composite
def mask_pairs(draw: st.DrawFn, most_classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Two masks of one shape, of two or three axes, often with empty and with full ones among them."""
    shape = draw(
        st.one_of(
            hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)
        )
    )
    elements = st.integers(0, most_classes - 1)
    fill = st.sampled_from(range(most_classes))
    one, other = (draw(hnp.arrays(np.uint8, shape, elements=elements, fill=fill)) for _ in range(2))
    return one, other
