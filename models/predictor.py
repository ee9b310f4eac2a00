"""The seam between the engine and whatever segments a batch of tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

# A NumPy array or a torch tensor on its device: whatever array_api_compat has a namespace for.
DeviceArray: TypeAlias = Any

# Probabilities per class, a list of objects, or both.
Output: TypeAlias = Literal["scores", "objects", "panoptic"]


@dataclass(frozen=True, kw_only=True)
class PredictorSpec:
    """What a predictor needs and gives, per spatial axis in array order.

    Attributes:
        n_channels: Channels of a tile.
        n_classes: Channels of the scores.
        stride: Tile origins and lengths must be multiples of it.
        margin: Pixels that a network of valid convolutions loses at each side.
        receptive_field: Diameter in pixels of what one score depends on; None where it is the whole tile.
        output: ``scores`` (probabilities per class), ``objects``, or ``panoptic``: both.
        only_tile: The one tile that it takes; None where every multiple of the stride will do.
    """

    n_channels: int
    n_classes: int
    stride: tuple[int, ...]
    margin: tuple[int, ...]
    receptive_field: tuple[int, ...] | None
    output: Output = "scores"
    only_tile: tuple[int, ...] | None = None

    @property
    def ndim(self) -> int:
        """Spatial axes of a tile."""
        return len(self.stride)


@runtime_checkable
class Predictor(Protocol):
    """Segments batches of one fixed shape."""

    @property
    def spec(self) -> PredictorSpec:
        """What the predictor needs and gives."""
        ...

    def predict(self, batch: NDArray[np.float32]) -> DeviceArray:
        """Score a batch.

        Args:
            batch: Normalised tiles ``(tiles, channels, *tile)``.

        Returns:
            Float32 scores ``(tiles, classes, *tile)`` less ``margin`` at each side, on the predictor's device.
            The next call must leave the array alone.
        """
        ...


@dataclass(frozen=True)
class TileObjects:
    """The objects that were found in one tile, the most certain first.

    Attributes:
        classes: Class number of each, from 1.
        scores: Probability of each, 0 to 1.
        starts: First ``(row, col)`` of each mask in the tile, ``(objects, 2)``.
        masks: Of each object, its own rows and cols only.
    """

    classes: NDArray[np.uint16]
    scores: NDArray[np.float32]
    starts: NDArray[np.int32]
    masks: tuple[NDArray[np.bool_], ...]


@dataclass(frozen=True)
class Detections:
    """What an ``ObjectPredictor`` found in a batch.

    Attributes:
        objects: One per tile.
        scores: As of ``Predictor.predict``, where the output is ``panoptic``; else None.
    """

    objects: tuple[TileObjects, ...]
    scores: DeviceArray | None = None


@runtime_checkable
class ObjectPredictor(Protocol):
    """Finds objects in batches of one fixed shape; its ``spec.output`` is ``objects`` or ``panoptic``."""

    @property
    def spec(self) -> PredictorSpec:
        """What the predictor needs and gives."""
        ...

    def detect(self, batch: NDArray[np.float32]) -> Detections:
        """Find the objects of normalised tiles ``(tiles, channels, rows, cols)``."""
        ...
