"""What goes into a fit, and what comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from models.card import Card

# Called with step, steps, mean loss since the last call, and the validation score where one was taken.
Progress: TypeAlias = Callable[[int, int, float, float | None], None]

Outside: TypeAlias = Literal["mirror", "zero"]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One scene with its reference.

    Attributes:
        image: Physical values ``(channels, *shape)``, finite.
        labels: Class of each pixel, ``shape``.
        valid: Which pixels count, ``shape``.
        name: Of the scene, in scores and messages.
        position: Where in its scene each pixel lies, ``(axes, *shape)``, for a network that sees it.
    """

    image: NDArray[np.float32]
    labels: NDArray[np.integer]
    valid: NDArray[np.bool_]
    name: str
    position: NDArray[np.float32] | None = None


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far a crop may be changed; 0 switches a change off.

    Attributes:
        zoom: Largest relative change of size.
        contrast: Standard deviation of a factor per channel.
        brightness: Standard deviation of an offset per channel, in standard deviations of the data.
        gamma: Largest change of the exponent's logarithm.
        noise: Standard deviation of white noise.
        flip: Whether to mirror each axis at random.
        turn: Whether to turn by quarters in the plane of the last two axes.
        rotation: Largest angle in each plane, in degrees.
        stretch: Largest relative change of the length of each axis, beside the common ``zoom``.
    """

    zoom: float = 0.0
    contrast: float = 0.1
    brightness: float = 0.1
    gamma: float = 0.0
    noise: float = 0.0
    flip: bool = True
    turn: bool = True
    rotation: float = 0.0
    stretch: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Everything that decides a fit besides its data and the network.

    Attributes:
        steps: Optimiser steps.
        batch: Crops per step.
        crop: Lengths of what the network reads, multiples of its stride; the last two alike where quarters are
            turned. A network of valid convolutions answers for its margin less at each side, and is fitted on that.
        learning_rate: Highest of the one-cycle schedule.
        weight_decay: Of AdamW.
        foreground: Share of crops that hold a pixel which is not background.
        outside: What a crop shows beyond its scene: the scene mirrored, or 0. With 0 the network can tell where the
            scene ends, which helps where scenes are cut round what is looked for.
        averaging: Decay of the running mean of the weights, which is what the fit returns; 0 for none.
        keep: ``last`` weights, or the ``best`` by validation score (optimistic if reported on the same scenes).
        validation_interval: Steps between validations; 0 for one at the end.
        bfloat16: Whether to run the network under autocast.
        seed: Of weights, crops and augmentation.
        threads: Of torch.
        device: Where to train.
        augmentation: How crops are changed.
    """

    steps: int
    batch: int
    crop: tuple[int, ...]
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    foreground: float = 0.5
    outside: Outside = "mirror"
    averaging: float = 0.98
    keep: Literal["last", "best"] = "last"
    validation_interval: int = 0
    bfloat16: bool = True
    seed: int = 0
    threads: int = 1
    device: str = "cpu"
    augmentation: Augmentation = field(default_factory=Augmentation)


@dataclass(frozen=True)
class FitResult:
    """A fitted network.

    Attributes:
        card: The template with normalisation and parameter count filled in.
        state_dict: The weights, float32 on the CPU.
        scores: Validation Dice per scene, mean over the classes but background.
        history: Step, loss and score of every validation.
    """

    card: Card
    state_dict: dict[str, Tensor]
    scores: dict[str, float]
    history: tuple[tuple[int, float, float | None], ...]
