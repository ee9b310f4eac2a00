"""What a program takes and gives, found by running it: TorchScript and ONNX do not tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from models.errors import CardError, WeightsError
from models.plain import read_plain
from models.predictors.onnx_runtime import ERRORS, open_session
from models.predictors.torchscript import parse_program
from models.run_settings import RunSettings

# Lengths of what is run, about, by axes.
_LENGTHS = {2: 160, 3: 48}
_STRIDES = (1, 2, 4, 8, 16, 32, 64)
# The stride of most networks, for those that look too far for theirs to be seen.
_GUESS = 32
_CHANNELS = (1, 3, 4, 2, 6, 5, 7, 8, 10, 12, 13)
# By how much, of their spread, scores of a shifted image may differ from shifted scores.
_SHIFTED = 0.02
_THREADS = 2


class _DoesNotRunError(Exception):
    """The program does not take an image."""


@dataclass(frozen=True)
class Program:
    """A program that can be run.

    Attributes:
        kind: What it is.
        shape: Of its input ``(1, channels, *axes)``; None where it does not say, or takes any.
        run: Maps such an array to scores; raises ``_DoesNotRunError``.
    """

    kind: Literal["onnx", "torchscript"]
    shape: tuple[int | None, ...]
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What was found of a program.

    Attributes:
        kind: ``onnx`` or ``torchscript``.
        n_channels: That it takes.
        n_outputs: Channels that it gives.
        stride: Lengths of tiles are multiples of it.
        margin: Pixels lost at each side.
        only_tile: The one image that it takes; None where it takes others too.
        output: What its numbers are.
        is_measured: Whether the stride was seen in what the program does, and not only in what it takes.
    """

    kind: Literal["onnx", "torchscript"]
    n_channels: int
    n_outputs: int
    stride: tuple[int, ...]
    margin: tuple[int, ...]
    only_tile: tuple[int, ...] | None
    output: Literal["logits", "logit", "probabilities"]
    is_measured: bool


def probe(path: Path) -> Probed:
    """Run a program on made-up images to see what it takes and gives.

    The stride is the smallest power of two for which an image that is shifted by it gives the same scores, shifted.

    Args:
        path: An ONNX or a TorchScript file.

    Raises:
        WeightsError: When it is neither.
        CardError: When it takes or gives what no card can describe.
    """
    program = _open(path)
    ndim = len(program.shape) - 2
    if ndim not in _LENGTHS:
        raise CardError(
            f"{path.name}: takes arrays of {len(program.shape)} axes; (1, channels, rows, cols) or (1, channels, "
            "depth, rows, cols) is what can be given"
        )
    n_channels = _channels(program, path.name)
    fixed = program.shape[2:]
    only_tile = tuple(length for length in fixed if length is not None)
    if len(only_tile) == ndim:
        try:
            scores = program.run(_image(n_channels, only_tile))
        except _DoesNotRunError as error:
            raise CardError(f"{path.name}: does not run on the {only_tile} that it asks for: {error}") from error
        # Tiles that lie half their length apart are all that such a program allows.
        stride, is_measured = tuple(length // 2 for length in only_tile), False
        lengths = only_tile
    else:
        stride, is_measured = _stride(program, n_channels, ndim, path.name)
        lengths = tuple(-(-_LENGTHS[ndim] // step) * step for step in stride)
        scores = program.run(_image(n_channels, lengths))
    lost = tuple(length - found for length, found in zip(lengths, scores.shape[2:], strict=False))
    if len(scores.shape) != ndim + 2 or any(each < 0 or each % 2 for each in lost):
        raise CardError(
            f"{path.name}: gives an array of shape {scores.shape} for an image of {lengths}; scores of the image's own "
            "length, one channel per class, or of one that is cut alike at both sides, are what can be used"
        )
    return Probed(
        kind=program.kind,
        n_channels=n_channels,
        n_outputs=scores.shape[1],
        stride=stride,
        margin=tuple(each // 2 for each in lost),
        only_tile=only_tile if len(only_tile) == ndim else None,
        output=_output(scores, path.name),
        is_measured=is_measured,
    )


def _open(path: Path) -> Program:
    try:
        content = read_plain(path)
    except OSError as error:
        raise WeightsError(f"{path.name}: the model cannot be read: {error.strerror}") from error
    return _onnx(path.name, content) if path.suffix.casefold() == ".onnx" else _torchscript(path.name, content)


def _onnx(name: str, content: bytes) -> Program:
    session = open_session(name, content, RunSettings(tile=(1,), device="cpu", threads=_THREADS))
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)":
        told = ", ".join(f"{entry.name}: {entry.type}" for entry in inputs)
        raise CardError(f"{name}: the graph takes {told}; one input of float32 is what can be given")

    def run(image: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            found: NDArray[np.float32] = session.run(None, {inputs[0].name: image})[0]
        except ERRORS as error:
            raise _DoesNotRunError(str(error).splitlines()[0]) from error
        return found

    return Program("onnx", tuple(side if isinstance(side, int) else None for side in inputs[0].shape), run)


def _torchscript(name: str, content: bytes) -> Program:
    network = parse_program(name, content)
    kernels = [tuple(one.shape) for one in network.parameters() if one.ndim in (4, 5)]
    if not kernels:
        raise CardError(f"{name}: a program without convolutions does not tell its axes. Write the card by hand")

    def run(image: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            with torch.inference_mode():
                found = network(torch.from_numpy(image))
        except (RuntimeError, IndexError) as error:
            raise _DoesNotRunError(str(error).strip().splitlines()[-1]) from error
        if not isinstance(found, torch.Tensor):
            raise CardError(f"{name}: the program gives a {type(found).__name__}; export one that gives a tensor")
        return found.numpy()

    return Program("torchscript", (1, None, *(None for _ in kernels[0][2:])), run)


def _channels(program: Program, name: str) -> int:
    stated = program.shape[1]
    if stated is not None:
        return stated
    ndim = len(program.shape) - 2
    lengths = tuple(side or _STRIDES[-1] * 2 for side in program.shape[2:])
    reason = ""
    for n_channels in _CHANNELS:
        try:
            program.run(_image(n_channels, lengths))
        except _DoesNotRunError as error:
            reason = str(error)
            continue
        return n_channels
    raise CardError(f"{name}: takes images of none of {_CHANNELS} channels and {ndim} axes: {reason}")


def _stride(program: Program, n_channels: int, ndim: int, name: str) -> tuple[tuple[int, ...], bool]:
    """Return the smallest stride that the program keeps to, and whether that was seen in its scores."""
    smallest = None
    for step in _STRIDES:
        if _runs(program, n_channels, ndim, step):
            smallest = smallest or step
            if _moves_along(program, n_channels, ndim, step):
                return (step,) * ndim, True
    if smallest is None:
        raise CardError(f"{name}: runs on no image of multiples of {_STRIDES[-1]}. Write the card by hand")
    return (max(smallest, _GUESS),) * ndim, False


def _runs(program: Program, n_channels: int, ndim: int, step: int) -> bool:
    """Tell whether the program takes images of several multiples of a stride, and loses as much of each."""
    lost = set()
    for length in _multiples(ndim, step):
        try:
            found = program.run(_image(n_channels, (length,) * ndim)).shape[2:]
        except _DoesNotRunError:
            return False
        lost.add(tuple(length - side for side in found))
    return len(lost) == 1


def _multiples(ndim: int, step: int) -> Iterator[int]:
    least = -(-_LENGTHS[ndim] // step)
    # An odd and an even number of steps, or one that halves once less would pass.
    for count in (least | 1, (least | 1) + 1):
        yield count * step


def _moves_along(program: Program, n_channels: int, ndim: int, step: int) -> bool:
    length = next(_multiples(ndim, step))
    image = _image(n_channels, (length + step,) * ndim)
    here = program.run(np.ascontiguousarray(image[_all_axes(ndim, slice(0, length))]))
    there = program.run(np.ascontiguousarray(image[_all_axes(ndim, slice(step, None))]))
    # Far from the edges, which the two do not share.
    middle = length // 3
    side = here.shape[-1] - 2 * middle
    one = here[_all_axes(ndim, slice(middle + step, middle + side))]
    other = there[_all_axes(ndim, slice(middle, middle + side - step))]
    if one.size == 0:
        return False
    return float(np.abs(one - other).mean()) <= _SHIFTED * float(here.std() + 1e-12)


def _all_axes(ndim: int, part: slice) -> tuple[Any, ...]:
    """Return the index of the same part along every spatial axis."""
    return (..., *(part,) * ndim)


def _image(n_channels: int, lengths: tuple[int, ...]) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(1, n_channels, *lengths)).astype(np.float32)


def _output(scores: NDArray[np.float32], name: str) -> Literal["logits", "logit", "probabilities"]:
    between = bool(scores.min() >= 0 and scores.max() <= 1)
    if scores.shape[1] == 1:
        if between:
            raise CardError(
                f"{name}: gives one number between 0 and 1 for each pixel; export it without its last sigmoid, or "
                "with one probability per class"
            )
        return "logit"
    sums = scores.sum(axis=1)
    return "probabilities" if between and bool(np.allclose(sums, 1, atol=1e-3)) else "logits"
