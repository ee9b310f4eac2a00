from __future__ import annotations

from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from models.networks.upsampling import (
    Upsampling,
    bilinear_kernel,
    cells_read,
    check_upsampling,
    output_length,
    start_bilinear,
    upsampler,
)

torch.set_num_threads(1)

KINDS = get_args(Upsampling)
STRIDES = [(2, 2), (3, 2), (1, 4), (1, 2, 2), (2, 2, 3)]
LAYERS = [(kind, stride) for kind in KINDS for stride in STRIDES if kind != "bicubic" or len(stride) == 2]


def pooled(n, shape, stride):
    """Features on the coarse grid, and where their maxima were found."""
    pool = functional.max_pool2d if len(stride) == 2 else functional.max_pool3d
    fine = torch.randn(2, n, *(size * step for size, step in zip(shape, stride, strict=True)))
    return pool(fine, stride, return_indices=True)


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 9), st.integers(0, 5), st.integers(0, 5))
def test_the_length_after_a_transposed_convolution_is_torchs(length, stride, kernel, padding, extra):
    expected = output_length("transposed_convolution", length, stride, kernel, padding, extra % stride)
    if expected > 0:
        grown = functional.conv_transpose1d(
            torch.ones(1, 1, length),
            torch.ones(1, 1, kernel),
            stride=stride,
            padding=padding,
            output_padding=extra % stride,
        )
        assert grown.shape[-1] == expected


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 9), st.integers(0, 4))
def test_the_length_after_unpooling_is_torchs_and_that_before_the_pooling(length, stride, kernel, padding):
    padding = min(padding, kernel // 2)
    expected = output_length("max_unpooling", length, stride, kernel, padding)
    if expected > 0:
        values, indices = functional.max_pool1d(
            torch.rand(1, 1, expected), kernel, stride, padding, return_indices=True
        )
        assert values.shape[-1] == length
        assert functional.max_unpool1d(values, indices, kernel, stride, padding).shape[-1] == expected


@pytest.mark.parametrize(("kind", "stride"), LAYERS, ids=str)
@settings(max_examples=8)
@given(n_in=st.integers(1, 3), n_out=st.integers(1, 3), sizes=st.tuples(*[st.integers(1, 7)] * 3))
def test_every_layer_grows_by_the_formula(kind, stride, n_in, n_out, sizes):
    shape = sizes[: len(stride)]
    _, indices = pooled(n_out, shape, stride)
    grown = upsampler(kind, n_in, n_out, stride)(torch.rand(2, n_in, *shape), indices)
    assert grown.shape == (2, n_out, *(output_length(kind, n, s) for n, s in zip(shape, stride, strict=True)))
    if n_in == n_out and kind == "transposed_convolution":
        smooth = upsampler(kind, n_in, n_out, stride, bilinear_start=True)
        assert smooth(torch.rand(2, n_in, *shape)).shape == grown.shape


def test_bed_of_nails_puts_the_value_first_and_nearest_fills_the_cell():
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[None, None]
    nails = upsampler("bed_of_nails", 1, 1, (2, 2))(values)[0, 0]
    filled = upsampler("nearest", 1, 1, (2, 2))(values)[0, 0]
    assert nails.tolist() == [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]
    assert filled.tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]


def hat(distance):
    return (1 - distance).clamp(0)


def keys(distance, a=-0.75):
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, 0.0))


@pytest.mark.parametrize(("kind", "kernel"), [("bilinear", hat), ("bicubic", keys)])
@pytest.mark.parametrize("stride", [(2, 2), (1, 3), (4, 2)])
def test_interpolation_is_the_sum_of_neighbours_by_their_distance(kind, kernel, stride):
    """Behind an edge its last pixel goes on."""
    values = torch.rand(1, 1, 5, 6, dtype=torch.float64)
    found = upsampler(kind, 1, 1, stride)(values)[0, 0]
    weights = []
    for length, step in zip((5, 6), stride, strict=True):
        places = (torch.arange(length * step, dtype=torch.float64) + 0.5) / step - 0.5
        cells = torch.arange(-3, length + 3)
        table = kernel((places[:, None] - cells).abs())
        inner = table[:, 3:-3].clone()
        inner[:, 0] += table[:, :3].sum(1)
        inner[:, -1] += table[:, -3:].sum(1)
        weights.append(inner)
    torch.testing.assert_close(found, weights[0] @ values[0, 0] @ weights[1].T)


@pytest.mark.parametrize("stride", STRIDES, ids=str)
@pytest.mark.parametrize("channels_last", [False, True])
def test_unpooling_returns_every_maximum_to_its_place(stride, channels_last):
    shape = (6, 4, 6)[: len(stride)]
    fine = torch.randn(2, 3, *(n * s for n, s in zip(shape, stride, strict=True)))
    if channels_last:
        fine = fine.contiguous(memory_format=torch.channels_last if fine.ndim == 4 else torch.channels_last_3d)
    pool = functional.max_pool2d if len(stride) == 2 else functional.max_pool3d
    values, indices = pool(fine, stride, return_indices=True)
    back = upsampler("max_unpooling", 3, 3, stride)(values, indices)
    kept = back != 0
    assert torch.equal(back[kept], fine[kept])
    assert int(kept.sum()) == values.numel()
    assert torch.equal(pool(torch.where(kept, fine, -torch.inf), stride), values)


@pytest.mark.parametrize("stride", [(2, 2), (3, 2), (4, 4), (1, 2, 2)], ids=str)
def test_a_bilinear_start_interpolates_away_from_the_edges(stride):
    shape = (7, 8, 9)[: len(stride)]
    values = torch.rand(1, 3, *shape)
    learnt = upsampler("transposed_convolution", 3, 3, stride, bilinear_start=True)(values)
    fixed = upsampler("bilinear", 3, 3, stride)(values)
    inside = (..., *(slice(s, -s) for s in stride))
    torch.testing.assert_close(learnt[inside], fixed[inside])


def test_a_transposed_convolution_is_the_transpose_of_the_convolution():
    """The words of the definition: <conv(x), y> equals <x, transposed(y)>, one matrix and its transpose."""
    layer = upsampler("transposed_convolution", 2, 3, (2, 3)).double()
    layer.bias.detach().zero_()
    fine, coarse = torch.rand(1, 3, 8, 9, dtype=torch.float64), torch.rand(1, 2, 4, 3, dtype=torch.float64)
    down = functional.conv2d(fine, layer.weight, stride=(2, 3))
    torch.testing.assert_close((down * coarse).sum(), (fine * layer(coarse)).sum())


def test_channels_that_differ_have_no_bilinear_start():
    with pytest.raises(ValueError, match="2 channels cannot each be interpolated into 3"):
        upsampler("transposed_convolution", 2, 3, (2, 2), bilinear_start=True)
    layer = torch.nn.ConvTranspose2d(2, 2, 4, 2, 1)
    start_bilinear(layer)
    assert float(layer.weight[0, 1].detach().abs().max()) == 0


def test_bicubic_along_three_axes_is_refused_by_name():
    with pytest.raises(ValueError, match="'bicubic' is for two axes; along three take 'bilinear'"):
        check_upsampling("bicubic", 3)
    with pytest.raises(ValueError, match="bicubic"):
        upsampler("bicubic", 1, 1, (2, 2, 2))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(smooth=st.booleans(), stride=st.integers(1, 5), low=st.integers(0, 59), length=st.integers(1, 12))
def test_the_cells_read_are_those_whose_change_shows(kind, smooth, stride, low, length):
    """Cells are changed one by one, and for unpooling the place in the window too."""
    smooth = smooth and kind == "transposed_convolution"
    kernel = bilinear_kernel(stride) if smooth else None
    n = 30
    start, stop = stride * 4 + low % (stride * 8), stride * 4 + low % (stride * 8) + length
    torch.manual_seed(0)
    layer = upsampler(kind, 1, 1, (1, stride), bilinear_start=smooth).double()
    coarse = torch.rand(n, 1, 1, n, dtype=torch.float64).expand(n, 1, 1, n)[:1].repeat(n, 1, 1, 1)
    changed = coarse + torch.eye(n, dtype=torch.float64)[:, None, None]
    found = torch.zeros(n, dtype=torch.bool)
    for phase in range(stride):
        indices = (torch.arange(n) * stride + phase).expand(n, 1, 1, n)
        difference = layer(changed, indices) - layer(coarse, indices)
        found |= (difference[:, 0, 0, start:stop].abs() > 1e-12).any(-1)
    first, last = cells_read(kind, (start, stop - 1), stride, kernel)
    read = set(found.nonzero().flatten().tolist())
    if kind == "bicubic" and stride % 2:
        assert read <= set(range(first, last + 1))
    else:
        assert read == set(range(first, last + 1))
