"""What the engine asks of an input, whatever its format."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tasks.box import Box

Order: TypeAlias = Literal[0, 1, 3]


@dataclass(frozen=True)
class Frame:
    """How the grid that the network sees relates to the grid of the input.

    Both are in array order, with the axes turned the way the model wants them. They differ in spacing only:
    along each axis ``(native + anchor) * scale - anchor`` is the model coordinate of a native pixel centre.

    Attributes:
        native_shape: Pixels of the input, ``rows, cols`` or ``depth, rows, cols``.
        model_shape: Pixels of the grid that tiles are cut from.
        scale: Model pixels per native pixel along each axis; 1.0 where nothing is resampled.
        crop: The part of the native grid that lies under the model grid, and whose corner ``native`` above is counted
            from; what lies outside it is background. None where the model grid lies over all of the input.
        orders: Along each axis the order of the spline that values are resampled with and that of the scores on their
            way back: 0, nearest neighbour; 1, linear; 3, cubic. Empty where everything is linear.
        anchor: 0.5 where both grids start at one outer edge, 0 where their first pixels have one centre.
    """

    native_shape: tuple[int, ...]
    model_shape: tuple[int, ...]
    scale: tuple[float, ...]
    crop: Box | None = None
    orders: tuple[tuple[Order, Order], ...] = ()
    anchor: float = 0.5

    @property
    def is_identity(self) -> bool:
        """Whether the network sees the input's own grid."""
        same = self.native_shape == self.model_shape and all(s == 1.0 for s in self.scale)
        return same and self.crop is None

    @property
    def covered(self) -> Box:
        """The part of the native grid that lies under the model grid."""
        return self.crop or Box.of_shape(self.native_shape)


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
