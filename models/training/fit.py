"""Plain supervised training on arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from models.card import Card, FixedNormalization
from models.device import choose_device
from models.errors import CardError
from models.networks.builders import build_network, network_geometry
from models.networks.layout import memory_layout
from models.normalization import normalise, resolve
from models.position import positions
from models.training.averaging import RunningMean
from models.training.crops import PreparedScene, prepare, random_batch
from models.training.losses import MaskedDiceCrossEntropy
from models.training.scores import mean_dice, predict_classes
from models.training.settings import FitResult, Progress, Sample, TrainSettings

_CLIP_PERCENTILES = (0.1, 99.9)


def fixed_statistics(samples: Sequence[Sample]) -> FixedNormalization:
    """Take clip, mean and standard deviation of each channel from the valid pixels of all samples."""
    pixels = np.concatenate([sample.image[:, sample.valid] for sample in samples], axis=1).astype(np.float64)
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


def with_numbers(card: Card, samples: Sequence[Sample]) -> Card:
    """Return a card whose ``fixed`` normalisation has numbers: those of the samples where it comes without."""
    if not isinstance(card.normalization, FixedNormalization) or card.normalization.clip:
        return card
    return card.model_copy(update={"normalization": fixed_statistics(samples)})


def prepare_sample(sample: Sample, card: Card) -> PreparedScene:
    """Normalise as the card says and bring to torch."""
    resolved = resolve(card.normalization, sample.image[:, sample.valid])
    image = sample.image if resolved is None else normalise(sample.image, resolved)
    position = sample.position
    if card.position and position is None:
        position = positions((0,) * sample.labels.ndim, sample.labels.shape, sample.labels.shape)
    return prepare(image, sample.labels, sample.valid, position)


def fit(
    train: Sequence[Sample],
    valid: Sequence[Sample],
    card: Card,
    settings: TrainSettings,
    progress: Progress | None = None,
) -> FitResult:
    """Fit the card's network.

    Args:
        train: What to fit on.
        valid: What to score on; may be empty. Never the same scenes.
        card: Network, channels, classes, normalisation. A ``fixed`` normalisation without numbers is taken from
            ``train``.
        settings: How.
        progress: Told every hundredth of the way.

    Returns:
        The weights; the same ones for the same input on the same machine and thread count.

    Raises:
        UnknownModelError: When no network has the card's name.
        CardError: When the network's arguments or the crop do not fit it.
        DeviceError: When the device is not there.
    """
    _check_crop(card, settings)
    card = with_numbers(card, train)
    torch.set_num_threads(settings.threads)
    with torch.random.fork_rng(devices=[]):
        # Of the weights, and of what a network drops out while it is fitted.
        torch.manual_seed(settings.seed)
        network = build_network(card.network, card.n_inputs, card.n_classes)
        card = card.model_copy(update={"parameters": sum(p.numel() for p in network.parameters())})
        run = _Run(network, card, settings)
        history = run.train([prepare_sample(sample, card) for sample in train], progress)
        scores = {sample.name: run.score(prepare_sample(sample, card)) for sample in valid}
    return FitResult(card, run.average.on_cpu(), scores, tuple(history))


def check_turns(settings: TrainSettings) -> None:
    """Refuse crops that are no longer of one shape once some of them are turned.

    Raises:
        CardError: When they are turned by quarters and their last two axes differ.
    """
    if settings.augmentation.turn and settings.crop[-2:] != settings.crop[:-3:-1]:
        raise CardError(
            f"a crop of {settings.crop} cannot be turned by quarters: give one length for the last two axes as "
            "settings.crop, or settings.augmentation.turn: false"
        )


def _check_crop(card: Card, settings: TrainSettings) -> None:
    geometry = network_geometry(card.network)
    fits = len(settings.crop) == len(geometry.stride) and all(
        length % step == 0 and length > 2 * side
        for length, step, side in zip(settings.crop, geometry.stride, geometry.margin, strict=True)
    )
    if geometry.only_tile not in (None, settings.crop):
        raise CardError(
            f"a crop of {settings.crop} does not fit network {card.network.name!r}: give {geometry.only_tile} as "
            "settings.crop, the one image it takes"
        )
    if not fits:
        longer = f" that exceed {tuple(2 * side for side in geometry.margin)}" if any(geometry.margin) else ""
        raise CardError(
            f"a crop of {settings.crop} does not fit network {card.network.name!r}: "
            f"give multiples of {geometry.stride}{longer} as settings.crop"
        )
    check_turns(settings)


class _Run:
    """One fit under way."""

    def __init__(self, network: nn.Module, card: Card, settings: TrainSettings) -> None:
        self.device = choose_device(settings.device)
        layout = memory_layout(network, len(settings.crop), self.device)
        self.network = network.to(self.device, memory_format=layout)  # type: ignore[call-overload]
        self.card, self.settings, self.layout = card, settings, layout
        self.geometry = network_geometry(card.network)
        self.average = RunningMean(network, settings.averaging)

    def train(self, scenes: list[PreparedScene], progress: Progress | None) -> list[tuple[int, float]]:
        settings = self.settings
        generator = torch.Generator().manual_seed(settings.seed)
        optimizer = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, settings.learning_rate, total_steps=settings.steps, pct_start=0.2
        )
        criterion = MaskedDiceCrossEntropy()
        history: list[tuple[int, float]] = []
        losses: list[float] = []
        for step in range(1, settings.steps + 1):
            losses.append(self._step(scenes, generator, optimizer, criterion))
            schedule.step()
            self.average.follow(self.network, step)
            if step == settings.steps or step % max(1, settings.steps // 100) == 0:
                history.append((step, float(np.mean(losses))))
                losses = []
                if progress:
                    progress(step, settings.steps, history[-1][1])
        return history

    def _step(
        self,
        scenes: list[PreparedScene],
        generator: torch.Generator,
        optimizer: torch.optim.Optimizer,
        criterion: nn.Module,
    ) -> float:
        self.network.train()
        images, labels = random_batch(scenes, self.settings, generator, self.geometry.margin)
        images = images.to(self.device).contiguous(memory_format=self.layout)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bfloat16 is not False):
            logits = self.network(images)
        loss = criterion(logits, labels.to(self.device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        optimizer.step()
        return float(loss.detach())

    def score(self, scene: PreparedScene) -> float:
        """Return the Dice of the averaged weights on a whole scene, mean over the classes but background."""
        self.network.load_state_dict(self.average.state)
        inputs = scene.inputs.to(self.device)
        least = 2 if self.geometry.receptive_field is None else 1
        classes = predict_classes(
            self.network, inputs, stride=self.geometry.stride, margin=self.geometry.margin, least=least
        )
        return mean_dice(classes, scene.labels.numpy(), self.card.n_classes)
