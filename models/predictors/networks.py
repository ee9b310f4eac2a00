"""Runs a network on tiles: reproducibly, and as fast as the device allows."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.card import Card
from models.device import choose_device, choose_dtype, keep_memory, probe
from models.errors import CardError
from models.networks.builders import build_network, network_geometry
from models.networks.geometry import Geometry
from models.networks.layout import memory_layout
from models.predictor import PredictorSpec
from models.predictors.fusion import fuse
from models.run_settings import RunSettings
from models.weights.files import read_weights

_LOG = logging.getLogger(__name__)
# Its logarithm is as far as logits in float32 reach in practice.
_SMALLEST_PROBABILITY = 1e-30


class TorchPredictor:
    """A ``Predictor`` round a network that maps ``(batch, channels, *tile)`` to logits.

    Args:
        network: In float32 on the CPU; a fused copy is kept.
        spec: In the axes of the scene. With three axes and a network of two, tiles are one slice thick.
        settings: How to run it.
        output: What the network gives, as ``models.card.Network`` says.
        ndim: Axes of the network, where its layers do not tell.

    Raises:
        DeviceError: When the device is not there or does not compute in the dtype.
        CardError: When the tile does not fit the network.
    """

    def __init__(
        self,
        network: nn.Module,
        spec: PredictorSpec,
        settings: RunSettings,
        output: Literal["logits", "logit", "probabilities", "regions"] = "logits",
        ndim: int | None = None,
    ) -> None:
        self._spec = spec
        self._settings = settings
        self._output = output
        self.device = choose_device(settings.device)
        self.dtype = choose_dtype(settings.dtype, self.device)
        self._ndim = ndim or _network_ndim(network)
        self._check_tile()
        make_reproducible(settings.threads)
        example = torch.zeros((1, spec.n_channels, *self._example_shape()))
        fused = fuse(network, example)
        self._layout = memory_layout(fused, self._ndim, self.device)
        self._network = fused.to(self.device, self.dtype, memory_format=self._layout)  # type: ignore[call-overload]
        # torch counts threads per thread.
        self._side_by_side = ThreadPoolExecutor(
            settings.batch, "tile", initializer=torch.set_num_threads, initargs=(settings.threads,)
        )

    @property
    def spec(self) -> PredictorSpec:
        """What the network needs and gives."""
        return self._spec

    def predict(self, batch: NDArray[np.float32]) -> Tensor:
        """Score ``(tiles, channels, *tile)``; float32 on the device."""
        images = torch.from_numpy(np.ascontiguousarray(batch))
        sliced = self._ndim < self._spec.ndim
        if sliced:
            images = images.squeeze(2)
        with torch.inference_mode():
            scores = self._score(images)
        return scores.unsqueeze(2) if sliced else scores

    def probe(self) -> int:
        """Run a batch of the planned shape and return its peak bytes.

        Raises:
            DeviceError: When it does not fit.
        """
        tiles = 1 if self.device.type == "cpu" else self._settings.batch
        shape = (tiles, self._spec.n_channels, *self._settings.tile[-self._ndim :])
        example = (1, self._spec.n_channels, *self._example_shape())
        return probe(self._network, shape, dtype=self.dtype, device=self.device, example=example)

    def _score(self, images: Tensor) -> Tensor:
        if self.device.type == "cpu":
            # Each alone: a core is busy with one tile, and the sums are then those of the tile whatever is beside it.
            # In threads of the predictor's own, a single tile too: only they keep to the plan's number of threads.
            return torch.cat(list(self._side_by_side.map(self._pass, torch.split(images, 1))))
        return self._pass(images)

    def _pass(self, images: Tensor) -> Tensor:
        # Again, because it holds for the thread that says it.
        with torch.inference_mode():
            return self._activate(self._network(self._bring(images)))

    def _bring(self, images: Tensor) -> Tensor:
        return images.to(self.device, self.dtype, non_blocking=True).contiguous(memory_format=self._layout)

    def _activate(self, logits: Tensor) -> Tensor:
        # Channel by channel: over two neighbouring numbers softmax is several times slower.
        raw = logits.to(torch.float32, memory_format=torch.contiguous_format)
        if self._output == "logit":
            # Softmax over 0 and x is the sigmoid of x.
            raw = torch.cat([torch.zeros_like(raw), raw], dim=1)
        if self._output == "probabilities":
            return raw if self._settings.activation == "softmax" else raw.clamp_min(_SMALLEST_PROBABILITY).log()
        if self._output == "regions":
            return raw.sigmoid() if self._settings.activation == "softmax" else raw
        return raw.softmax(1) if self._settings.activation == "softmax" else raw

    def _example_shape(self) -> tuple[int, ...]:
        # Twice the stride behind the margins: small, and deep enough for networks that pool over the image.
        sides = zip(self._spec.stride[-self._ndim :], self._spec.margin[-self._ndim :], strict=True)
        return tuple(2 * (step + side + -side % step) for step, side in sides)

    def _check_tile(self) -> None:
        tile = self._settings.tile
        sliced = self._ndim < self._spec.ndim
        fits = len(tile) == self._spec.ndim and not any(t % s for t, s in zip(tile, self._spec.stride, strict=True))
        if not fits or min(tile) < 1 or (sliced and tile[0] != 1):
            slices = ", its first length 1" if sliced else ""
            raise CardError(f"tile {tile} does not fit: its lengths must be multiples of {self._spec.stride}{slices}")
        if self._spec.only_tile not in (None, tile):
            raise CardError(f"tile {tile} does not fit: the model takes tiles of {self._spec.only_tile} alone")


def load_torch_predictor(card: Card, weights: Path, settings: RunSettings) -> TorchPredictor:
    """Build the card's network, read its verified weights and make it ready.

    Raises:
        UnknownModelError: When the card names no known network.
        CardError: When the card contradicts itself.
        WeightsError: When the weights are not those of the card.
        DeviceError: When the device is not there or does not compute in the dtype.
    """
    if card.weights is None:
        raise CardError(f"{card.name}: the card names no weights; state weights.file and weights.sha256")
    keep_memory()
    network = build_network(card.network, card.n_inputs, card.n_outputs)
    network.load_state_dict(read_weights(weights, card.weights.sha256, network))
    predictor = TorchPredictor(network, card_spec(card), settings, card.network.output)
    _LOG.info("%s on %s in %s, %d threads", card.name, predictor.device, settings.dtype, settings.threads)
    return predictor


def card_spec(card: Card) -> PredictorSpec:
    """Return what a card's network needs and gives; a network of two axes runs over the slices of a volume."""
    return spec_of(card, network_geometry(card.network))


def spec_of(card: Card, geometry: Geometry) -> PredictorSpec:
    """Return the same for a geometry that is known."""
    stride, margin = geometry.stride, geometry.margin
    field, only_tile = geometry.receptive_field, geometry.only_tile
    if card.kind == "volume" and len(stride) == 2:
        stride, margin = (1, *stride), (0, *margin)
        field, only_tile = (None if found is None else (1, *found) for found in (field, only_tile))
    if len(stride) != {"raster": 2, "volume": 3}[card.kind]:
        raise CardError(f"{card.name}: a network of {len(stride)} axes does not run over a {card.kind}")
    return PredictorSpec(
        n_channels=card.n_inputs,
        n_classes=card.n_classes,
        stride=stride,
        margin=margin,
        receptive_field=field,
        output=geometry.output,
        only_tile=only_tile,
    )


def _network_ndim(network: nn.Module) -> Literal[2, 3]:
    return 3 if any(isinstance(module, nn.Conv3d) for module in network.modules()) else 2


def make_reproducible(threads: int) -> None:
    """Let torch compute the same bits again, with that many threads."""
    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
