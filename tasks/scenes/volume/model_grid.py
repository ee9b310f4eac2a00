"""The grid that a network sees of a volume, as a scene of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.geometry.box import Box
from tasks.geometry.frame import Frame
from tasks.scenes.volume.scene import VolumeReader, VolumeScene


@dataclass(frozen=True)
class ModelGrid:
    """A volume on the grid that the network sees, as a scene of its own; implements ``tasks.scenes.scene.Scene``.

    Attributes:
        volume: On its own grid.
    """

    volume: VolumeScene

    @property
    def id(self) -> str:
        """Of the volume."""
        return self.volume.id

    @property
    def frame(self) -> Frame:
        """One grid for both."""
        shape = self.volume.frame.model_shape
        return Frame(native_shape=shape, model_shape=shape, scale=(1.0,) * len(shape))

    @property
    def n_channels(self) -> int:
        """Of the volume."""
        return self.volume.n_channels

    @contextmanager
    def open(self) -> Iterator[ModelGridReader]:
        """Open the volume for reading in this process."""
        yield ModelGridReader(self.volume)


class ModelGridReader:
    """Reads windows of the grid that the network sees."""

    def __init__(self, volume: VolumeScene) -> None:
        self._reader = VolumeReader(volume)

    def read(self, box: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read as ``VolumeReader.read`` does."""
        return self._reader.read(box)

    def invalid(self, box: Box) -> None:
        """Nothing that a volume observes is invalid by a job."""

    def valid(self, box: Box) -> NDArray[np.bool_]:
        """Tell which pixels of a window were observed."""
        return self._reader.read(box)[1]
