"""How good a fit is: Dice on whole scenes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.networks.layout import memory_layout
from models.training.crops import IGNORED, mirrored


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


def predict_classes(
    network: nn.Module, image: Tensor, stride: tuple[int, ...], margin: tuple[int, ...] = (), least: int = 1
) -> NDArray[np.int64]:
    """Return the likeliest class of each pixel, ``shape``; arguments as of ``predict_scores``."""
    return predict_scores(network, image, stride=stride, margin=margin, least=least).argmax(0).cpu().numpy()


def dice(predicted: NDArray[np.integer], labels: NDArray[np.integer], class_id: int) -> float:
    """Return ``2 |A and B| / (|A| + |B|)`` over pixels that are not ``IGNORED``; 1 where both are empty."""
    counted = labels != IGNORED
    a, b = (predicted == class_id) & counted, (labels == class_id) & counted
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def mean_dice(predicted: NDArray[np.integer], labels: NDArray[np.integer], n_classes: int) -> float:
    """Return the mean over the classes but background."""
    return float(np.mean([dice(predicted, labels, class_id) for class_id in range(1, n_classes)]))
