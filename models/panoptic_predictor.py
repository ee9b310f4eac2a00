"""Runs a panoptic network on tiles, one at a time: a score per class and pixel, and objects."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.predictor import Detections, TileObjects
from models.predictors.objects import TorchDetector, on_tile


class TorchPanoptic(TorchDetector):
    """An ``ObjectPredictor`` round a network of ``models.networks.panoptic_fpn``; arguments are those of its base."""

    def detect(self, batch: NDArray[np.float32]) -> Detections:
        """Find the objects of tiles ``(tiles, channels, rows, cols)``, and score their pixels."""
        tiles = torch.from_numpy(np.ascontiguousarray(batch)).unbind()
        # On a CPU each in a thread of its own, as in the base.
        both = self._side_by_side.map(self._look, tiles) if self.device.type == "cpu" else map(self._look, tiles)
        objects, scores = zip(*both, strict=True)
        return Detections(objects, torch.stack(scores))

    def _look(self, tile: Tensor) -> tuple[TileObjects, Tensor]:
        # Again, because it holds for the thread that says it.
        with torch.inference_mode():
            (found,) = self._network([tile.to(self.device)])
            logits = found.pop("semantic").to(torch.float32)
            scores = logits.softmax(0) if self._settings.activation == "softmax" else logits
            return on_tile({name: values.cpu() for name, values in found.items()}, tuple(tile.shape[1:])), scores
