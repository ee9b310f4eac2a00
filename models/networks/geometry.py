"""What a network does to the grid: the numbers that the tiling needs."""

from __future__ import annotations

from dataclasses import dataclass

from models.predictor import Output


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Per spatial axis of the network, in array order.

    Attributes:
        stride: Lengths of the input must be multiples of it.
        receptive_field: Pixels that one score depends on, as a diameter; None where it is the whole tile.
        margin: Pixels lost at each side.
        output: ``scores`` where the network maps images to logits.
        only_tile: The one image that the network takes; None where every multiple of the stride will do.
    """

    stride: tuple[int, ...]
    receptive_field: tuple[int, ...] | None
    margin: tuple[int, ...]
    output: Output = "scores"
    only_tile: tuple[int, ...] | None = None
