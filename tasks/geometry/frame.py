"""How the grid that a network sees relates to the grid of the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tasks.geometry.box import Box

Order: TypeAlias = Literal[0, 1, 3]


@dataclass(frozen=True, kw_only=True)
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
        first: The model grid may be a part of a larger one, which the coordinates above are those of: its first pixel
            there. Empty where it is all of it.
        seen: Of such a part, the native pixels that it answers for; what lies outside them is background.
    """

    native_shape: tuple[int, ...]
    model_shape: tuple[int, ...]
    scale: tuple[float, ...]
    crop: Box | None = None
    orders: tuple[tuple[Order, Order], ...] = ()
    anchor: float = 0.5
    first: tuple[int, ...] = ()
    seen: Box | None = None

    @property
    def is_identity(self) -> bool:
        """Whether the network sees the input's own grid."""
        same = self.native_shape == self.model_shape and all(s == 1.0 for s in self.scale)
        return same and self.crop is None and not self.first

    @property
    def answered(self) -> Box | None:
        """The native pixels that the model looks at, where there are others: those are background."""
        return self.seen if self.crop is None else self.crop

    @property
    def covered(self) -> Box:
        """The part of the native grid that lies under the model grid."""
        return self.crop or Box.of_shape(self.native_shape)
