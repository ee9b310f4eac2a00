"""Runs a network that finds objects, panoptic ones too, on one tile at a time: no answer depends on another tile."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import expand_boxes, expand_masks, paste_mask_in_image

from models.card import Card
from models.device import choose_device, free_bytes, keep_memory
from models.errors import CardError, DeviceError
from models.networks.builders import build_network
from models.predictor import Detections, PredictorSpec, TileObjects
from models.predictors.networks import card_spec, make_reproducible
from models.run_settings import RunSettings
from models.weights.files import read_weights

_LOG = logging.getLogger(__name__)

# From torchvision: of the probabilities that a mask is, and of the margin round the box that it is pasted with.
_INSIDE = 0.5
_PADDING = 1


class TorchDetector:
    """An ``ObjectPredictor`` round a network of ``models.networks.maskrcnn``.

    Args:
        network: In float32 on the CPU.
        spec: In the axes of the scene.
        settings: How to run it.

    Raises:
        DeviceError: When the device is not there, or anything but float32 is asked for.
        CardError: When the tile does not fit the network.
    """

    def __init__(self, network: nn.Module, spec: PredictorSpec, settings: RunSettings) -> None:
        if settings.dtype != "float32":
            raise DeviceError(f"networks that find objects run in float32, not {settings.dtype}; mend run.dtype")
        if len(settings.tile) != spec.ndim or any(t % s for t, s in zip(settings.tile, spec.stride, strict=True)):
            raise CardError(f"tile {settings.tile} does not fit: its lengths must be multiples of {spec.stride}")
        self._spec = spec
        self._settings = settings
        self.device = choose_device(settings.device)
        make_reproducible(settings.threads)
        self._network = network.to(self.device).eval()
        # torch counts threads per thread.
        self._side_by_side = ThreadPoolExecutor(
            settings.batch, "tile", initializer=torch.set_num_threads, initargs=(settings.threads,)
        )

    @property
    def spec(self) -> PredictorSpec:
        """What the network needs and gives."""
        return self._spec

    def detect(self, batch: NDArray[np.float32]) -> Detections:
        """Find the objects of tiles ``(tiles, channels, rows, cols)``, the most certain first."""
        tiles = torch.from_numpy(np.ascontiguousarray(batch)).unbind()
        if self.device.type == "cpu":
            return Detections(tuple(self._side_by_side.map(self._pass, tiles)))
        return Detections(tuple(self._pass(tile) for tile in tiles))

    def probe(self) -> int:
        """Find the objects of noise, as many tiles as run at a time, and return the peak bytes as far as they are told.

        Raises:
            DeviceError: When a tile does not fit.
        """
        n_tiles = self._settings.batch if self.device.type == "cpu" else 1
        shape = (n_tiles, self._spec.n_channels, *self._settings.tile)
        before = psutil.Process().memory_info().rss
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        try:
            self.detect(np.random.default_rng(0).standard_normal(shape).astype(np.float32))
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise DeviceError(
                f"a tile of {self._settings.tile} does not fit on {self.device.type!r}: "
                f"{free_bytes(self.device) / 2**20:.0f} MiB are free. Make tiling.tile smaller"
            ) from error
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        return max(0, psutil.Process().memory_info().rss - before)

    def _pass(self, tile: Tensor) -> TileObjects:
        # Again, because it holds for the thread that says it.
        with torch.inference_mode():
            (found,) = self._network([tile.to(self.device)])
            return on_tile({name: values.cpu() for name, values in found.items()}, tuple(tile.shape[1:]))


def on_tile(found: dict[str, Tensor], tile: tuple[int, ...]) -> TileObjects:
    """Paste masks onto the tile, as ``paste_masks_in_image`` of torchvision does, and cut them out again.

    Args:
        found: ``boxes``, ``labels``, ``scores`` and ``masks`` of one tile, as ``models.networks.maskrcnn`` gives them.
        tile: Rows and cols.
    """
    masks, scale = expand_masks(found["masks"], padding=_PADDING)
    boxes = expand_boxes(found["boxes"], scale).to(torch.int64)
    order = torch.argsort(found["scores"], descending=True, stable=True).tolist()
    kept, starts, cut = [], [], []
    for k in order:
        inside = (paste_mask_in_image(masks[k][0], boxes[k], tile[0], tile[1]) > _INSIDE).numpy()
        rows, cols = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
        if len(rows):
            kept.append(k)
            starts.append((rows[0], cols[0]))
            cut.append(inside[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1])
    return TileObjects(
        found["labels"].numpy()[kept].astype(np.uint16),
        found["scores"].numpy()[kept].astype(np.float32),
        np.array(starts, np.int32).reshape(-1, 2),
        tuple(cut),
    )


def load_torch_detector(
    card: Card, weights: Path, settings: RunSettings, make: type[TorchDetector] = TorchDetector
) -> TorchDetector:
    """Build the card's network, read its verified weights and make it ready.

    Args:
        card: Of the network.
        weights: Its file.
        settings: How to run it.
        make: What runs it.

    Raises:
        UnknownModelError: When the card names no known network.
        CardError: When the card contradicts itself, or its scenes are volumes.
        WeightsError: When the weights are not those of the card.
        DeviceError: When the device is not there or does not compute in the dtype.
    """
    if card.weights is None:
        raise CardError(f"{card.name}: the card names no weights; state weights.file and weights.sha256")
    if card.kind != "raster":
        raise CardError(f"{card.name}: {card.network.name} finds objects in rasters; those of slices are not joined")
    keep_memory()
    network = build_network(card.network, card.n_inputs, card.n_classes)
    network.load_state_dict(read_weights(weights, card.weights.sha256, network))
    detector = make(network, card_spec(card), settings)
    _LOG.info("%s on %s in %s, %d threads", card.name, detector.device, settings.dtype, settings.threads)
    return detector


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
