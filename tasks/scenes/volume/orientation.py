"""How the axes of a file are turned into the axes of the model: a permutation and flips, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import CardError
from tasks.geometry.box import Box

# World axes are right, anterior, superior, as in NIfTI.
_AXES = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


@dataclass(frozen=True)
class Turn:
    """From the axes of a file to those of the model.

    Attributes:
        file_shape: Shape in the file's axis order.
        axes: The file axis that each turned axis comes from.
        flips: Whether a turned axis runs against its file axis.
    """

    file_shape: tuple[int, int, int]
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape in turned order."""
        return tuple(self.file_shape[axis] for axis in self.axes)

    def to_file(self, box: Box) -> Box:
        """Return a turned window as a window in file order."""
        start, stop = [0, 0, 0], [0, 0, 0]
        for turned, (axis, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            low, high, length = box.start[turned], box.stop[turned], self.file_shape[axis]
            start[axis], stop[axis] = (length - high, length - low) if flip else (low, high)
        return Box(tuple(start), tuple(stop))

    def from_file(self, box: Box) -> Box:
        """Return a window in file order as a turned window."""
        start, stop = [0, 0, 0], [0, 0, 0]
        for turned, (axis, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            low, high, length = box.start[axis], box.stop[axis], self.file_shape[axis]
            start[turned], stop[turned] = (length - high, length - low) if flip else (low, high)
        return Box(tuple(start), tuple(stop))

    def turn(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an array (or window) in file order as a view in turned order."""
        return array.transpose(self.axes)[self._flipper]

    def turn_back(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an array (or window) in turned order as a view in file order."""
        return array[self._flipper].transpose(np.argsort(self.axes))

    def turned_affine(self, affine: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the world coordinates of the turned voxels.

        Args:
            affine: 4 x 4, from file voxels to world, in millimetres.

        Returns:
            4 x 4, from turned voxels to the same world.
        """
        to_file = np.zeros((4, 4))
        to_file[3, 3] = 1.0
        for turned, (axis, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            to_file[axis, turned] = -1.0 if flip else 1.0
            to_file[axis, 3] = self.file_shape[axis] - 1 if flip else 0.0
        return affine @ to_file

    @property
    def _flipper(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)


def turn_between(file_shape: tuple[int, int, int], file_axes: tuple[tuple[int, int], ...], wanted: str) -> Turn:
    """Return the turn from a file's axes to the axes that a model card asks for.

    Args:
        file_shape: Shape in file order.
        file_axes: For each file axis the world axis that is nearest to it, and 1 or -1 for its direction.
        wanted: Axis codes of the turned axes, such as ``SAR``: towards superior, anterior, right; or the file's own
            axes, such as ``kji``.

    Raises:
        CardError: When ``wanted`` does not name each axis once.
    """
    if wanted.islower():
        return _permutation(file_shape, wanted)
    codes = [_AXES[code] for code in wanted]
    if sorted(world for world, _ in codes) != [0, 1, 2]:
        raise CardError(f"orientation '{wanted}' names an axis twice; use one of R/L, one of A/P, one of S/I")
    return turn_to(file_shape, file_axes, codes)


def turn_to(
    file_shape: tuple[int, int, int], file_axes: Sequence[tuple[int, int]], wanted: Sequence[tuple[int, int]]
) -> Turn:
    """Return the turn from a file's axes to others.

    Args:
        file_shape: Shape in file order.
        file_axes: As of ``turn_between``.
        wanted: For each turned axis one of the same world axes, each once, and its direction.
    """
    nearest = [world for world, _ in file_axes]
    axes = [nearest.index(world) for world, _ in wanted]
    flips = [file_axes[axis][1] != sign for axis, (_, sign) in zip(axes, wanted, strict=True)]
    return Turn(file_shape, (axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]))


def _permutation(file_shape: tuple[int, int, int], wanted: str) -> Turn:
    axes = ["ijk".index(letter) for letter in wanted]
    if sorted(axes) != [0, 1, 2]:
        raise CardError(f"orientation '{wanted}' names an axis of the file twice; use each of i, j and k once")
    return Turn(file_shape, (axes[0], axes[1], axes[2]), (False, False, False))


def codes_of(turn: Turn, file_axes: tuple[tuple[int, int], ...]) -> str:
    """Return the axis codes of turned axes, such as ``SAR``; arguments as of ``turn_between``."""
    letters = {place: letter for letter, place in _AXES.items()}
    turned = zip(turn.axes, turn.flips, strict=True)
    return "".join(letters[file_axes[axis][0], file_axes[axis][1] * (-1 if flip else 1)] for axis, flip in turned)
