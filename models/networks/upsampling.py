"""The six ways back up to a finer grid, under the names that the literature gives them."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.reach import Interval

Upsampling: TypeAlias = Literal[
    "bed_of_nails", "nearest", "bilinear", "bicubic", "max_unpooling", "transposed_convolution"
]

_CONVOLUTION: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
_INTERPOLATION = {
    ("nearest", 2): "nearest",
    ("nearest", 3): "nearest",
    ("bilinear", 2): "bilinear",
    ("bilinear", 3): "trilinear",
    ("bicubic", 2): "bicubic",
}


def check_upsampling(kind: Upsampling, ndim: int) -> None:
    """Refuse what torch does not have; for the validators of a network's arguments.

    Raises:
        ValueError: For bicubic interpolation along three axes.
    """
    if kind == "bicubic" and ndim != 2:
        raise ValueError("upsampling 'bicubic' is for two axes; along three take 'bilinear', which is trilinear there")


def output_length(
    kind: Upsampling, length: int, stride: int, kernel: int | None = None, padding: int = 0, output_padding: int = 0
) -> int:
    """Return the length of an axis after upsampling, in pixels.

    Transposed convolution: ``(W - 1) S + F + output_padding - 2 padding``. Max unpooling: the length before the
    pooling, ``(W - 1) S + F - 2 padding``, when no window hung over the end. All others: ``W S``.

    Args:
        kind: How.
        length: ``W``.
        stride: ``S``.
        kernel: ``F``, of the transposed convolution or of the pooling; the stride when left out.
        padding: Of the transposed convolution or of the pooling, at each side.
        output_padding: Of the transposed convolution, at the end.
    """
    size = stride if kernel is None else kernel
    match kind:
        case "transposed_convolution":
            return (length - 1) * stride + size + output_padding - 2 * padding
        case "max_unpooling":
            return (length - 1) * stride + size - 2 * padding
    return length * stride


def bilinear_kernel(stride: int) -> int:
    """Return the length ``2 S - S mod 2`` of a transposed convolution that can interpolate linearly."""
    return 2 * stride - stride % 2


def cells_read(kind: Upsampling, interval: Interval, stride: int, kernel: int | None = None) -> Interval:
    """Return the first and last coarse pixel that decide over fine pixels, along one axis.

    Args:
        kind: How.
        interval: First and last fine pixel.
        stride: Fine pixels per coarse one.
        kernel: Of a transposed convolution whose output is ``stride`` times as long as its input; the stride when left
            out.

    Returns:
        First and last coarse pixel. Under a bed of nails the first may lie behind the last: nothing is read. Cubic
        interpolation with an odd stride reads one less at times.
    """
    low, high = interval
    if low > high:
        return interval
    match kind:
        case "bed_of_nails":
            return -(-low // stride), high // stride
        case "bilinear":
            # Pixel p lies at (p + 1/2) / S - 1/2 of the coarse grid, between the pixels round that.
            return (2 * low + 1 - stride) // (2 * stride), -((stride - 1 - 2 * high) // (2 * stride))
        case "bicubic":
            return (2 * low + 1 - stride) // (2 * stride) - 1, (2 * high + 1 - stride) // (2 * stride) + 2
        case "transposed_convolution":
            size = stride if kernel is None else kernel
            padding = (size - stride) // 2
            return -(-(low + padding - size + 1) // stride), (high + padding) // stride
    return low // stride, high // stride


def upsampler(
    kind: Upsampling, n_in: int, n_out: int, stride: tuple[int, ...], *, bilinear_start: bool = False
) -> nn.Module:
    """Make a layer that is called with features and, for max unpooling, the indices that the pooling stored.

    ``layer(features, indices)`` maps ``(batch, n_in, *shape)`` to ``(batch, n_out, *shape * stride)``. Indices have
    the shape ``(batch, n_out, *shape)``; every other kind passes over them. What does not learn is preceded by a 1x1
    convolution without bias where ``n_in`` and ``n_out`` differ.

    Args:
        kind: How.
        n_in: Channels before.
        n_out: Channels behind.
        stride: Per spatial axis; two or three axes.
        bilinear_start: Of a transposed convolution: with overlapping kernels that begin as linear interpolation of each
            channel for itself, and without bias (Long et al. 2015, 3.3); else kernels as long as the stride, at random
            (Ronneberger et al. 2015).

    Raises:
        ValueError: When torch does not have it, or the channels of a bilinear start differ.
    """
    ndim = len(stride)
    check_upsampling(kind, ndim)
    if kind == "transposed_convolution":
        return _transposed(n_in, n_out, stride, bilinear_start=bilinear_start)
    if kind == "max_unpooling":
        return MaxUnpooling(n_in, n_out, stride)
    if kind == "bed_of_nails":
        return BedOfNails(n_in, n_out, stride)
    return Interpolation(n_in, n_out, stride, _INTERPOLATION[kind, ndim])


class _Projected(nn.Module):
    """What the layers without weights of their own share: channels are brought to ``n_out`` first."""

    def __init__(self, n_in: int, n_out: int, stride: tuple[int, ...]) -> None:
        super().__init__()
        self.stride = stride
        same = n_in == n_out
        self.project = nn.Identity() if same else _CONVOLUTION[len(stride)](n_in, n_out, 1, bias=False)

    def _grown(self, features: Tensor) -> list[int]:
        return [n * step for n, step in zip(features.shape[2:], self.stride, strict=True)]


class BedOfNails(_Projected):
    """The value goes to the first pixel of its cell along every axis; zeros elsewhere."""

    def forward(self, features: Tensor, indices: Tensor | None = None) -> Tensor:
        """Return ``features`` on the finer grid."""
        values = self.project(features)
        grown: Tensor = values.new_zeros((*values.shape[:2], *self._grown(values)))
        nails = tuple(slice(None, None, step) for step in self.stride)
        grown[(slice(None), slice(None), *nails)] = values
        return grown


class Interpolation(_Projected):
    """Nearest, linear or cubic; pixels are areas, so the outer edges of both grids are the same.

    Linear: ``sum f(i) max(0, 1 - |x - i|)`` along each axis. Cubic: over sixteen neighbours, by the kernel of Keys 1981
    with ``a = -3/4``.

    Args:
        n_in: Channels before.
        n_out: Channels behind.
        stride: Per spatial axis.
        mode: Of torch's ``interpolate``.
    """

    def __init__(self, n_in: int, n_out: int, stride: tuple[int, ...], mode: str) -> None:
        super().__init__(n_in, n_out, stride)
        self.mode = mode

    def forward(self, features: Tensor, indices: Tensor | None = None) -> Tensor:
        """Return ``features`` on the finer grid."""
        values = self.project(features)
        return functional.interpolate(values, size=self._grown(values), mode=self.mode)


class MaxUnpooling(_Projected):
    """The value goes back to where the maximum was found; zeros elsewhere (Zeiler & Fergus 2014).

    For poolings whose windows do not overlap: no place is written to twice, so every device gives the same.
    """

    def forward(self, features: Tensor, indices: Tensor) -> Tensor:
        """Return ``features`` at the places that the pooling stored."""
        values = self.project(features)
        unpool = functional.max_unpool2d if len(self.stride) == 2 else functional.max_unpool3d
        grown: Tensor = unpool(values, indices, list(self.stride))
        return grown


class TransposedConvolution2d(nn.ConvTranspose2d):
    """A transposed convolution that passes over the indices of a pooling."""

    def forward(self, features: Tensor, indices: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Return ``features`` on the finer grid."""
        return super().forward(features)


class TransposedConvolution3d(nn.ConvTranspose3d):
    """A transposed convolution that passes over the indices of a pooling."""

    def forward(self, features: Tensor, indices: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Return ``features`` on the finer grid."""
        return super().forward(features)


def _transposed(n_in: int, n_out: int, stride: tuple[int, ...], *, bilinear_start: bool) -> nn.Module:
    kernel = tuple(bilinear_kernel(step) for step in stride) if bilinear_start else stride
    padding = tuple((size - step) // 2 for size, step in zip(kernel, stride, strict=True))
    kind = TransposedConvolution2d if len(stride) == 2 else TransposedConvolution3d
    layer = kind(n_in, n_out, kernel, stride, padding, bias=not bilinear_start)  # type: ignore[arg-type]
    if bilinear_start:
        start_bilinear(layer)
    return layer


def start_bilinear(layer: nn.ConvTranspose2d | nn.ConvTranspose3d) -> None:
    """Let a transposed convolution begin as linear interpolation of each channel for itself (Long et al. 2015, 3.3).

    With a stride ``S``, the kernel of length ``2 S - S mod 2`` is a hat that sums to one over the coarse pixels. Away
    from the edges that equals interpolation; at the edges it fades, as zeros lie behind them.

    Raises:
        ValueError: When channels in and out differ.
    """
    if layer.in_channels != layer.out_channels:
        raise ValueError(f"{layer.in_channels} channels cannot each be interpolated into {layer.out_channels}")
    hat = torch.ones(())
    for size, step in zip(layer.kernel_size, layer.stride, strict=True):
        places = (torch.arange(size) - (size - 1) / 2) / step
        hat = hat[..., None] * (1 - places.abs())
    channels = torch.arange(layer.in_channels)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[channels, channels] = hat.to(layer.weight)
