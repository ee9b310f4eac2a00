"""Plain supervised training on arrays."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from models.card import Card, FixedNormalization
from models.device import choose_device
from models.errors import CardError
from models.networks.builders import build_network, network_geometry
from models.networks.layout import memory_layout
from models.normalization import normalise, resolve
from models.position import positions
from models.training.crops import Crops, HeldScene, StreamedScene, prepare
from models.training.losses import MaskedLoss, scores_loss
from models.training.module import FitModule, Objective
from models.training.settings import AnySample, Augmentation, FitResult, Progress, StreamedSample, TrainSettings
from models.training.trainer import carry_out

_CLIP_PERCENTILES = (0.1, 99.9)


def fixed_statistics(samples: Sequence[AnySample]) -> FixedNormalization:
    """Take clip, mean and standard deviation of each channel from the observed pixels of all samples."""
    pixels = np.concatenate([sample.pixels for sample in samples], axis=1).astype(np.float64)
    clip = np.percentile(pixels, _CLIP_PERCENTILES, axis=1)
    clipped = np.clip(pixels, clip[0][:, None], clip[1][:, None])
    std = np.maximum(clipped.std(axis=1), 1e-6)
    normalised = (clipped - clipped.mean(axis=1, keepdims=True)) / std[:, None]
    return FixedNormalization(
        together=tuple(
            tuple(round(float(value), 4) for value in row) for row in normalised @ normalised.T / normalised.shape[1]
        ),
        clip=tuple((round(float(low), 6), round(float(high), 6)) for low, high in clip.T),
        mean=tuple(round(float(value), 6) for value in clipped.mean(axis=1)),
        std=tuple(round(float(value), 6) for value in std),
    )


def with_numbers(card: Card, samples: Sequence[AnySample]) -> Card:
    """Return a card whose ``fixed`` normalisation has numbers: those of the samples where it comes without."""
    if not isinstance(card.normalization, FixedNormalization) or card.normalization.clip:
        return card
    return card.model_copy(update={"normalization": fixed_statistics(samples)})


def prepare_sample(sample: AnySample, card: Card) -> HeldScene | StreamedScene:
    """Normalise as the card says and bring to torch."""
    resolved = resolve(card.normalization, sample.pixels)
    if isinstance(sample, StreamedSample):
        return StreamedScene(sample=sample, numbers=resolved, has_positions=card.position)
    image = sample.image if resolved is None else normalise(sample.image, resolved)
    position = sample.position
    if card.position and position is None:
        position = positions((0,) * sample.labels.ndim, sample.labels.shape, sample.labels.shape)
    return prepare(image, sample.labels, sample.valid, position)


def fit(
    samples: Sequence[AnySample],
    card: Card,
    settings: TrainSettings,
    *,
    watched: Sequence[AnySample] = (),
    folder: Path | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Fit the card's network.

    Args:
        samples: What to fit on.
        card: Network, channels, classes, normalisation. A ``fixed`` normalisation without numbers is taken from
            ``samples``.
        settings: How.
        watched: Scenes that tell when to stop, where the settings ask for that. Never the same scenes.
        folder: For checkpoints and logs; where they are found, the fit goes on. None for a folder that is removed.
        progress: Told at each entry of the curves.

    Returns:
        The weights; the same ones for the same input on the same machine and thread count.

    Raises:
        UnknownModelError: When no network has the card's name.
        CardError: When the network's arguments, the crop or other settings do not fit it.
        DeviceError: When the device is not there.
        WeightsError: When a checkpoint is damaged.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="swathe-fit-") as scratch:
            return fit(samples, card, settings, watched=watched, folder=Path(scratch), progress=progress)
    geometry = network_geometry(card.network)
    _check(card, settings)
    objective: Objective
    if geometry.output == "scores":
        objective = partial(scores_loss, MaskedLoss(settings.loss))
    else:
        # Here, because few fits need it.
        from models.training.objects import objects_objective

        objective = objects_objective(card)
        settings = replace(settings, precision="float32")
    card = with_numbers(card, samples)
    with torch.random.fork_rng(devices=[]):
        # Of the weights.
        torch.manual_seed(settings.seed)
        network = build_network(card.network, card.n_inputs, card.n_classes)
        if geometry.output == "scores":
            layout = memory_layout(network, len(settings.crop), choose_device(settings.device))
            network = network.to(memory_format=layout)
        still = replace(settings, augmentation=Augmentation.none())
        state, curves = carry_out(
            FitModule(network, objective, settings, card.n_classes),
            Crops([prepare_sample(sample, card) for sample in samples], settings, geometry.margin),
            Crops([prepare_sample(one, card) for one in watched], still, geometry.margin) if watched else None,
            settings=settings,
            folder=folder,
            progress=progress,
        )
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    return FitResult(card.model_copy(update={"parameters": n_parameters}), state, curves)


def _check(card: Card, settings: TrainSettings) -> None:
    """Refuse settings that do not fit the network."""
    name, geometry = card.network.name, network_geometry(card.network)
    fits = len(settings.crop) == len(geometry.stride) and all(
        length % step == 0 and length > 2 * side
        for length, step, side in zip(settings.crop, geometry.stride, geometry.margin, strict=True)
    )
    if geometry.only_tile not in (None, settings.crop):
        raise CardError(
            f"a crop of {settings.crop} does not fit network {name!r}: give {geometry.only_tile} as settings.crop, "
            "the one image it takes"
        )
    if not fits:
        longer = f" that exceed {tuple(2 * side for side in geometry.margin)}" if any(geometry.margin) else ""
        raise CardError(
            f"a crop of {settings.crop} does not fit network {name!r}: give multiples of {geometry.stride}{longer} as "
            "settings.crop"
        )
    if settings.augmentation.turn and settings.crop[-2:] != settings.crop[:-3:-1]:
        raise CardError(
            f"a crop of {settings.crop} cannot be turned by quarters: give one length for the last two axes as "
            "settings.crop, or settings.augmentation.turn: false"
        )
    if geometry.output != "scores" and settings.precision not in {"auto", "float32"}:
        raise CardError(f"{name!r} is fitted in float32: leave settings.precision out")
    if geometry.output != "scores" and settings.loss != "dice_ce":
        raise CardError(f"{name!r} is fitted by losses of its own: leave settings.loss out")
    if geometry.output != "scores" and settings.patience is not None:
        raise CardError(f"{name!r} finds objects, and what is watched are scores: leave settings.patience out")
