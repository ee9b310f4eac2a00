"""What a classical method sees of a scene: bands, or expressions over them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.card import Card
from models.classical.card import card_features, sees_place
from models.classical.expression import Expression
from tasks.geometry.box import Box
from tasks.scenes.scene import SceneReader


class FeatureReader:
    """Reads features in place of channels. Where a feature has no finite value nothing was observed.

    Where the method sees place, the scene's own coordinates stand behind the features, whatever the window.
    """

    def __init__(
        self, reader: SceneReader, features: tuple[Expression, ...], channels: tuple[str, ...], *, sees_place: bool
    ) -> None:
        self._reader = reader
        self._features = features
        self._channels = channels
        self._sees_place = sees_place

    def read(self, box: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read a window.

        Returns:
            Float32 ``(features, *box.shape)``, 0 where not observed, and which pixels have all features; coordinates in
            pixels follow the features.
        """
        image, observed = self._reader.read(box)
        bands = dict(zip(self._channels, image, strict=True))
        rows = [feature(bands) for feature in self._features]
        if self._sees_place:
            rows += [np.broadcast_to(axis, box.shape).astype(np.float32) for axis in np.ogrid[box.slices]]
        values = np.stack(rows)
        # What was not observed is 0 in every band, and its features may be any number.
        observed = observed & np.isfinite(values).all(axis=0)
        values[:, ~observed] = 0
        return values, observed

    def invalid(self, box: Box) -> NDArray[np.bool_] | None:
        """Tell what the job calls invalid."""
        return self._reader.invalid(box)

    def valid(self, box: Box) -> NDArray[np.bool_]:
        """Tell which pixels the mask answers for; the grid of these methods is the input's own."""
        observed = self.read(box)[1]
        invalid = self.invalid(box)
        return observed if invalid is None else observed & ~invalid


def featured(reader: SceneReader, card: Card) -> SceneReader:
    """Return a reader of what the card's predictor is given: the scene's own, where that is its channels.

    Raises:
        CardError: When the card's features do not go with its channels.
    """
    features = card_features(card)
    place = sees_place(card)
    if not place and (not features or tuple(feature.text for feature in features) == card.channels):
        return reader
    return FeatureReader(reader, features, card.channels, sees_place=place)
