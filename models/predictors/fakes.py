"""Predictors without a network: for tests, smoke runs, and timing everything but the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.card import Card, ClassEntry, Network, NoNormalization, Tiling
from models.predictor import Detections, PredictorSpec, TileObjects


@dataclass(frozen=True)
class IdentityPredictor:
    """Scores 1 for the class whose number the first channel holds, so that the mask equals the input.

    Attributes:
        n_classes: Numbers from 0 that the input may hold.
        ndim: Spatial axes of a tile.
    """

    n_classes: int = 255
    ndim: int = 2

    @property
    def spec(self) -> PredictorSpec:
        """One channel, stride 1, each score of its own pixel."""
        ones = (1,) * self.ndim
        return PredictorSpec(
            n_channels=1, n_classes=self.n_classes, stride=ones, margin=(0,) * self.ndim, receptive_field=ones
        )

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return one-hot scores ``(tiles, classes, *tile)`` of the rounded first channel."""
        classes = np.arange(self.n_classes, dtype=np.float32).reshape((1, -1) + (1,) * self.ndim)
        scores: NDArray[np.float32] = (np.rint(batch[:, :1]) == classes).astype(np.float32)
        return scores


@dataclass(frozen=True)
class ComponentsPredictor:
    """Finds the connected areas of equal values above 0; values 1, 2 ... are of the classes but background in turn.

    Attributes:
        n_classes: Background included.
    """

    n_classes: int = 2

    @property
    def spec(self) -> PredictorSpec:
        """One channel of a raster, stride 1; an area may reach through the whole tile."""
        return PredictorSpec(
            n_channels=1, n_classes=self.n_classes, stride=(1, 1), margin=(0, 0), receptive_field=None, output="objects"
        )

    def detect(self, batch: NDArray[np.float32]) -> Detections:
        """Find areas that hang together at edges or corners, all of them for certain."""
        return Detections(tuple(self._areas(np.rint(tile[0]).astype(np.int32)) for tile in batch))

    def _areas(self, values: NDArray[np.int32]) -> TileObjects:
        # Here, because few runs need it.
        import cc3d

        areas = cc3d.connected_components(np.maximum(values, 0), connectivity=8)
        # Here, because most who import this have no use for it, and it takes a third of a second.
        from scipy import ndimage

        places = ndimage.find_objects(areas.astype(np.int32))
        masks = tuple(areas[place] == number for number, place in enumerate(places, start=1))
        held = [values[place][mask][0] for place, mask in zip(places, masks, strict=True)]
        return TileObjects(
            ((np.array(held, np.int64) - 1) % (self.n_classes - 1) + 1).astype(np.uint16),
            np.ones(len(places), np.float32),
            np.array([[part.start for part in place] for place in places], np.int32).reshape(-1, 2),
            masks,
        )


# Tiles of models that cost nothing: large enough to be quick, small enough that a scene has several.
_TILES = {2: (512, 512), 3: (64, 64, 64)}
_GREYS = 255
_JOINING = 16


FAKES: dict[str, type[IdentityPredictor] | type[ComponentsPredictor]] = {
    "identity": IdentityPredictor,
    "components": ComponentsPredictor,
}


def fake_card(name: str, arguments: Mapping[str, Any], channels: tuple[str, ...], kind: str) -> Card:
    """Describe a fake as a model, for a scene with these channels.

    Args:
        name: ``identity`` or ``components``.
        arguments: Of the predictor: ``n_classes``.
        channels: Names of what the scene delivers.
        kind: ``raster`` or ``volume``.
    """
    ndim = 2 if kind == "raster" else 3
    known: dict[str, Any] = {**({} if name == "components" else {"ndim": ndim}), **arguments}
    usual = ComponentsPredictor if name == "components" else IdentityPredictor
    n_classes = int(known.get("n_classes", usual.n_classes))
    greys = (round(k * (_GREYS - 1) / max(1, n_classes - 1)) for k in range(n_classes))
    classes = tuple(ClassEntry(name=f"value {k}", colour=f"#{g:02x}{g:02x}{g:02x}") for k, g in enumerate(greys))
    zeros = (0,) * ndim
    # What two tiles see is what their objects are joined by.
    halo = (_JOINING,) * ndim if name == "components" else zeros
    return Card(
        name=name,
        title=f"{name.capitalize()}: a predictor without a network",
        kind="raster" if ndim == 2 else "volume",
        network=Network(name=name, arguments=known),
        channels=channels,
        classes=classes,
        normalization=NoNormalization(),
        tiling=Tiling(tile=_TILES[ndim], halo=halo, overlap=zeros, disagreement=0.0),
        licence="Apache-2.0",
        origin="swathe",
        orientation=None if ndim == 2 else "SAR",
    )
