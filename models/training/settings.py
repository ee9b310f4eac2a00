"""What goes into a fit, and what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

import numpy as np
import pydantic.dataclasses
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from models.card import Card
from models.run_settings import Device, Dtype

# Called with step, steps and the mean loss since the last call.
Progress: TypeAlias = Callable[[int, int, float], None]

# Per number of steps, what was logged, by name; ``loss`` is the mean since the entry before.
Curves: TypeAlias = dict[int, dict[str, float]]

LossName: TypeAlias = Literal["dice_ce", "dice_focal", "generalized_dice_ce", "tversky_ce", "ce", "focal"]

Outside: TypeAlias = Literal["mirror", "zero"]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One scene with its reference.

    Attributes:
        image: Physical values ``(channels, *shape)``, finite.
        labels: Class of each pixel, ``shape``; negative where there is no label.
        valid: Which pixels were observed, ``shape``.
        name: Of the scene, in scores and messages.
        position: Where in its scene each pixel lies, ``(axes, *shape)``, for a network that sees it.
    """

    image: NDArray[np.float32]
    labels: NDArray[np.integer]
    valid: NDArray[np.bool_]
    name: str
    position: NDArray[np.float32] | None = None

    @property
    def pixels(self) -> NDArray[np.float32]:
        """Values of the observed pixels, ``(channels, n)``."""
        return self.image[:, self.valid]


@dataclass(frozen=True, kw_only=True)
class StreamedSample:
    """One scene with its reference that is read window by window.

    Attributes:
        name: Of the scene, in scores and messages.
        shape: Of the scene.
        read: From first pixel and one past the last of a window inside the scene to what ``Sample`` has of it: image,
            labels, valid.
        pixels: Physical values ``(channels, n)`` that stand for all.
        places: Of each class some labelled pixels, ``(n, axes)``.
        is_labelled_whole: Whether every pixel was observed and has a label.
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[
        [tuple[int, ...], tuple[int, ...]], tuple[NDArray[np.float32], NDArray[np.integer], NDArray[np.bool_]]
    ]
    pixels: NDArray[np.float32]
    places: Mapping[int, NDArray[np.intp]]
    is_labelled_whole: bool


AnySample: TypeAlias = Sample | StreamedSample


# A key or a value that means nothing would be left out of the fit unnoticed.
_CHECKED = ConfigDict(extra="forbid", allow_inf_nan=False)
_Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
_BelowOne: TypeAlias = Annotated[float, Field(ge=0, lt=1)]


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=_CHECKED)
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

    zoom: _BelowOne = 0.0
    contrast: NonNegativeFloat = 0.1
    brightness: NonNegativeFloat = 0.1
    gamma: NonNegativeFloat = 0.0
    noise: NonNegativeFloat = 0.0
    flip: bool = True
    turn: bool = True
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    stretch: _BelowOne = 0.0

    @classmethod
    def none(cls) -> Augmentation:
        """Return what leaves crops as they are."""
        return cls(contrast=0, brightness=0, flip=False, turn=False)


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=_CHECKED)
class TrainSettings:
    """Everything that decides a fit besides its data and the network, and where it is carried out.

    Attributes:
        steps: Optimiser steps.
        batch: Crops per pass, on each device.
        accumulate: Passes per step.
        crop: Lengths of what the network reads, multiples of its stride; the last two alike where quarters are
            turned. A network of valid convolutions answers for its margin less at each side, and is fitted on that.
        learning_rate: The highest.
        loss: What is minimised: of regions, over the whole batch and the classes but background, and of pixels.
        warm_up: Share of the steps over which the learning rate rises from 0; it falls to 0 along a cosine after it.
        weight_decay: Of AdamW.
        foreground: Share of crops that hold a pixel which is not background, of each class as often.
        outside: What a crop shows beyond its scene: the scene mirrored, or 0. With 0 the network can tell where the
            scene ends, which helps where scenes are cut round what is looked for.
        averaging: Decay of the running mean of the weights, which is what the fit returns; 0 for none.
        patience: Steps without a better mean Dice of the scenes that are watched, after which a fit ends with the best
            weights; None for all steps, and no scene watched.
        watched: Share of the scenes that are watched, and not fitted; one at least. Counts with ``patience``.
        precision: What the network computes in; ``auto`` for bfloat16 on GPUs and CPUs that have units for it.
        seed: Of weights, crops and augmentation.
        threads: Of torch on a CPU; None for one per core.
        device: Where to train; ``auto`` for a GPU where there is one.
        devices: How many GPUs, or processes on a CPU, see different crops at each step.
        loaders: Processes that prepare crops beside the fit; None for none on a CPU, and half of the cores, at most 8,
            for a GPU.
        checkpoint_s: Seconds between two checkpoints, at least.
        augmentation: How crops are changed.
    """

    steps: PositiveInt
    batch: PositiveInt
    accumulate: PositiveInt = 1
    crop: tuple[PositiveInt, ...]
    learning_rate: PositiveFloat = 3e-3
    loss: LossName = "dice_ce"
    warm_up: _BelowOne = 0.2
    weight_decay: NonNegativeFloat = 1e-2
    foreground: _Share = 0.5
    outside: Outside = "mirror"
    averaging: _BelowOne = 0.98
    patience: PositiveInt | None = None
    watched: Annotated[float, Field(gt=0, lt=1)] = 0.2
    precision: Dtype | Literal["auto"] = "auto"
    seed: NonNegativeInt = 0
    threads: PositiveInt | None = None
    device: Device = "auto"
    devices: PositiveInt = 1
    loaders: NonNegativeInt | None = None
    checkpoint_s: NonNegativeFloat = 30.0
    augmentation: Augmentation = field(default_factory=Augmentation)

    @property
    def interval(self) -> int:
        """Steps from one entry of the curves to the next, and from one look at the watched scenes to the next."""
        return max(1, self.steps // 100)


@dataclass(frozen=True)
class FitResult:
    """A fitted network.

    Attributes:
        card: The template with normalisation and parameter count filled in.
        state_dict: The weights, float32 on the CPU.
        curves: What was seen on the way.
    """

    card: Card
    state_dict: dict[str, Tensor]
    curves: Curves

    @property
    def history(self) -> tuple[tuple[int, float], ...]:
        """Steps, and the mean loss since the entry before."""
        return tuple((step, row["loss"]) for step, row in self.curves.items())
