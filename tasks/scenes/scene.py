"""What the engine asks of an input, whatever its format."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.geometry.box import Box
from tasks.geometry.frame import Frame


class SceneReader(Protocol):
    """An opened scene. Windows lie inside the frame; padding is the engine's."""

    def read(self, box: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read ``box`` of the model grid.

        Returns:
            Physical values ``(channels, *box.shape)``, not normalised, finite everywhere (0 where invalid), and
            which pixels hold an observation, ``box.shape``: what the network may look at.
        """
        ...

    def invalid(self, box: Box) -> NDArray[np.bool_] | None:
        """Tell which pixels of ``box`` of the native grid the job calls invalid; None where it has no such rule."""
        ...

    def valid(self, box: Box) -> NDArray[np.bool_]:
        """Tell which pixels of ``box`` of the native grid the mask answers for: observed, and not invalid."""
        ...


class Scene(Protocol):
    """A small frozen description of one input; it travels to workers, which open it themselves."""

    @property
    def id(self) -> str:
        """The scene's name in products, logs and tables."""
        ...

    @property
    def frame(self) -> Frame:
        """The grids of the network and of the input."""
        ...

    @property
    def n_channels(self) -> int:
        """Channels that ``SceneReader.read`` returns, in the model card's order."""
        ...

    def open(self) -> AbstractContextManager[SceneReader]:
        """Open the scene for reading in this process."""
        ...
