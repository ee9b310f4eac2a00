"""Fitting a network that finds objects on class maps: an object is a connected area of one class.

Areas hang together at edges and corners; where objects touch in the labels they are one to the network. The loss is
torchvision's own: that of anchors and proposals, of classes, of boxes and of masks, added up.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import cc3d
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from models.card import Card
from models.errors import CardError
from models.networks.builders import network_geometry
from models.training.crops import IGNORED
from models.training.module import Objective

# From the labels of a crop to what a network is fitted to.
Target: TypeAlias = Callable[[Tensor], dict[str, Tensor]]


def targets_of(labels: Tensor) -> dict[str, Tensor]:
    """Return the objects of a crop as torchvision wants them.

    Args:
        labels: Int64 ``(rows, cols)``: class numbers; 0 and ``IGNORED`` are no objects.

    Returns:
        ``boxes`` float32 ``(n, 4)``: first col, first row, and those behind the last; ``labels`` int64 ``(n,)``;
        ``masks`` uint8 ``(n, rows, cols)``.
    """
    classes = labels.numpy()
    classes = np.where(classes == IGNORED, 0, classes).astype(np.int32)
    areas = cc3d.connected_components(classes, connectivity=8).astype(np.int32)
    places = ndimage.find_objects(areas)
    masks = areas[None] == np.arange(1, len(places) + 1)[:, None, None]
    boxes = [(cols.start, rows.start, cols.stop, rows.stop) for rows, cols in places]
    held = [classes[place][areas[place] == number][0] for number, place in enumerate(places, start=1)]
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(held, dtype=torch.int64),
        "masks": torch.from_numpy(masks.astype(np.uint8)),
    }


def panoptic_targets_of(labels: Tensor, things: tuple[int, ...]) -> dict[str, Tensor]:
    """Return the objects of a crop that are things, and as ``semantic`` the classes of all its pixels.

    Args:
        labels: Int64 ``(rows, cols)``.
        things: Numbers of the classes whose connected areas are objects.
    """
    is_thing = torch.isin(labels, torch.tensor(things))
    return {**targets_of(torch.where(is_thing, labels, 0)), "semantic": labels}


def objects_objective(card: Card) -> Objective:
    """Return what a network of objects is fitted to.

    Raises:
        CardError: When a panoptic one's card names no things.
    """
    if network_geometry(card.network).output != "panoptic":
        return partial(_loss, targets_of)
    things = tuple(number for number, entry in enumerate(card.classes) if entry.thing)
    if not things or 0 in things:
        raise CardError(f"{card.name}: say of the classes, but of the first, which are things: 'thing': true")
    return partial(_loss, partial(panoptic_targets_of, things=things))


def _loss(target: Target, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    targets = [{name: value.to(images.device) for name, value in target(one.cpu()).items()} for one in labels]
    losses: dict[str, Tensor] = network(list(images), targets)
    return torch.stack(list(losses.values())).sum()
