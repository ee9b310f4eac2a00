"""Fitting a network that finds objects on class maps: an object is a connected area of one class.

Areas hang together at edges and corners; where objects touch in the labels they are one to the network. The loss is
torchvision's own: that of anchors and proposals, of classes, of boxes and of masks, added up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import cc3d
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from models.card import Card
from models.device import choose_device
from models.errors import CardError
from models.networks.builders import build_network, network_geometry
from models.training.averaging import RunningMean
from models.training.crops import IGNORED, PreparedScene, random_batch
from models.training.fit import check_turns, prepare_sample, with_numbers
from models.training.settings import FitResult, Progress, Sample, TrainSettings

_LARGEST_GRADIENT = 5.0

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


def fit_objects(
    samples: Sequence[Sample], card: Card, settings: TrainSettings, progress: Progress | None = None
) -> FitResult:
    """Fit the card's network, in float32.

    Args:
        samples: Rasters with their class maps.
        card: As for ``fit``.
        settings: As for ``fit``.
        progress: Told every hundredth of the way.

    Returns:
        The running mean of the weights; the same for the same input on the same machine and thread count.

    Raises:
        CardError: When the network's arguments or the crop do not fit it, a panoptic one's card names no things, or
            the settings ask for bfloat16.
        DeviceError: When the device is not there.
    """
    target = _target(card)
    stride = network_geometry(card.network).stride
    if len(settings.crop) != len(stride) or any(n % s for n, s in zip(settings.crop, stride, strict=True)):
        raise CardError(f"a crop of {settings.crop} does not fit {card.network.name!r}: give multiples of {stride}")
    check_turns(settings)
    if settings.bfloat16:
        raise CardError(f"{card.network.name!r} is fitted in float32: leave settings.bfloat16 out")
    card = with_numbers(card, samples)
    torch.set_num_threads(settings.threads)
    with torch.random.fork_rng(devices=[]):
        # Of the weights, and of torchvision's choice of the anchors and boxes that count.
        torch.manual_seed(settings.seed)
        network = build_network(card.network, card.n_inputs, card.n_classes).to(choose_device(settings.device))
        mean, history = _train(
            network,
            [prepare_sample(sample, card) for sample in samples],
            settings=settings,
            progress=progress,
            target=target,
        )
    fitted = card.model_copy(update={"parameters": sum(p.numel() for p in network.parameters())})
    return FitResult(fitted, mean.on_cpu(), {}, tuple(history))


def _target(card: Card) -> Target:
    """Return what makes a crop's labels what the network is fitted to."""
    if network_geometry(card.network).output != "panoptic":
        return targets_of
    things = tuple(number for number, entry in enumerate(card.classes) if entry.thing)
    if not things or 0 in things:
        raise CardError(f"{card.name}: say of the classes, but of the first, which are things: 'thing': true")
    return partial(panoptic_targets_of, things=things)


def _train(
    network: nn.Module,
    scenes: list[PreparedScene],
    settings: TrainSettings,
    progress: Progress | None,
    target: Target,
) -> tuple[RunningMean, list[tuple[int, float]]]:
    generator = torch.Generator().manual_seed(settings.seed)
    optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.steps, pct_start=0.2
    )
    mean = RunningMean(network, settings.averaging)
    history: list[tuple[int, float]] = []
    losses: list[float] = []
    for step in range(1, settings.steps + 1):
        losses.append(
            _step(network, scenes, settings=settings, generator=generator, optimizer=optimizer, target=target)
        )
        schedule.step()
        mean.follow(network, step)
        if step == settings.steps or step % max(1, settings.steps // 100) == 0:
            history.append((step, float(np.mean(losses))))
            losses = []
            if progress:
                progress(step, settings.steps, history[-1][1])
    return mean, history


def _step(
    network: nn.Module,
    scenes: list[PreparedScene],
    settings: TrainSettings,
    generator: torch.Generator,
    optimizer: torch.optim.Optimizer,
    target: Target,
) -> float:
    network.train()
    images, labels = random_batch(scenes, settings, generator)
    device = next(network.parameters()).device
    targets = [{name: value.to(device) for name, value in target(one).items()} for one in labels]
    losses: dict[str, Tensor] = network([image.to(device) for image in images], targets)
    loss = torch.stack(list(losses.values())).sum()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
    optimizer.step()
    return float(loss.detach())
