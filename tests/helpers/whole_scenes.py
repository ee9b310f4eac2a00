"""A network on whole scenes in one pass: what tiles are compared with, and how good a fit is."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.networks.builders import build_network, network_geometry
from models.networks.layout import memory_layout
from models.training.crops import IGNORED, mirrored
from models.training.fit import prepare_sample


def predict_scores(
    network: nn.Module, image: Tensor, stride: tuple[int, ...], margin: tuple[int, ...] = (), least: int = 1
) -> Tensor:
    """Return probabilities of a whole scene in one pass, like a tile that holds all of it.

    Args:
        network: Gives logits.
        image: Normalised, ``(channels, *shape)``, of any size; mirrored behind up to a multiple of ``stride``, and
            before and behind by what the network loses.
        stride: Of the network.
        margin: Pixels that the network loses at each side; none when left out.
        least: Strides that each side is long at least; 2 for what looks at the whole tile, as the engine has it.

    Returns:
        Float32 ``(classes, *shape)``.
    """
    shape, sides = image.shape[1:], margin or (0,) * len(stride)
    parts = []
    for axis, (size, step, side) in enumerate(zip(shape, stride, sides, strict=True)):
        # As the engine does: tiles begin at multiples of the stride.
        beyond = side + -side % step
        stop = size + beyond
        places = torch.arange(-beyond, max(stop + -stop % step, least * step - beyond), device=image.device)
        image = image.index_select(axis + 1, mirrored(places, size))
        parts.append(slice(beyond - side, beyond - side + size))
    layout = memory_layout(network, len(stride), image.device)
    network.eval()
    with torch.inference_mode():
        scores: Tensor = network(image[None].contiguous(memory_format=layout)).float().softmax(1)[0]
    return scores[(slice(None), *parts)]


def dice(predicted: NDArray[np.integer], labels: NDArray[np.integer], class_id: int) -> float:
    """Return ``2 |A and B| / (|A| + |B|)`` over pixels that are not ``IGNORED``; 1 where both are empty."""
    counted = labels != IGNORED
    a, b = (predicted == class_id) & counted, (labels == class_id) & counted
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def score(fitted, sample) -> float:
    """Return the Dice of a fit on a sample that it was not fitted on, mean over the classes but the first."""
    card = fitted.card
    geometry = network_geometry(card.network)
    network = build_network(card.network, card.n_inputs, card.n_classes)
    network.load_state_dict(fitted.state_dict)
    scene = prepare_sample(sample, card)
    least = 2 if geometry.receptive_field is None else 1
    found = predict_scores(network, scene.layers[:-1], geometry.stride, geometry.margin, least).argmax(0).numpy()
    return float(np.mean([dice(found, scene.labels.numpy(), number) for number in range(1, card.n_classes)]))
