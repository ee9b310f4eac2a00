"""From physical values to what a network was fitted on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.card import (
    ChainNormalization,
    FixedNormalization,
    GridNormalization,
    NoNormalization,
    Normalization,
    SceneNormalization,
)

_SMALLEST_STD = 1e-6
_UNBOUNDED = (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max))


@dataclass(frozen=True, kw_only=True)
class ResolvedNormalization:
    """``(clip(value, *clip) - mean) / std``, one of each per channel.

    Attributes:
        clip: Lowest and highest physical value.
        mean: Of the clipped values.
        std: Of the clipped values, positive.
        nonzero: Whether 0 stays 0.
        then: What is done to the result.
    """

    clip: tuple[tuple[float, float], ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    nonzero: bool = False
    then: ResolvedNormalization | None = None


def scene_statistics(values: NDArray[np.float32], settings: SceneNormalization) -> ResolvedNormalization:
    """Take the numbers of ``SceneNormalization`` from the observed values of a whole scene.

    Args:
        values: ``(channels, ...)``, physical, finite; pixels without an observation left out.
        settings: Percentiles and floor.

    Returns:
        Numbers for ``normalise``. A channel without a value above the floor gets clip 0 to 0, mean 0, std 1.
    """
    statistics = [_channel_statistics(channel.ravel(), settings) for channel in values]
    clips, means, stds = zip(*statistics, strict=True)
    return ResolvedNormalization(clip=tuple(clips), mean=tuple(means), std=tuple(stds))


def _channel_statistics(
    values: NDArray[np.float32], settings: SceneNormalization
) -> tuple[tuple[float, float], float, float]:
    above = values[values > settings.floor].astype(np.float64)
    if above.size == 0:
        return (0.0, 0.0), 0.0, 1.0
    low, high = (float(value) for value in np.percentile(above, settings.percentiles))
    if settings.scale == "range":
        return (low, high), low, high - low if high - low > _SMALLEST_STD else 1.0
    clipped = np.clip(above, low, high)
    std = float(clipped.std())
    return (low, high), float(clipped.mean()), std if std > _SMALLEST_STD else 1.0


def grid_statistics(values: NDArray[np.float32], settings: GridNormalization) -> ResolvedNormalization:
    """Take the numbers of ``GridNormalization``: ``NormalizeIntensity`` and ``ScaleIntensity`` of MONAI.

    Args:
        values: ``(channels, ...)``, physical, finite, of the grid that the network sees.
        settings: What to take.

    Returns:
        Numbers for ``normalise``; mean 0 and std 1 for a channel without a value that counts.
    """
    numbers = [_grid_channel(channel.ravel().astype(np.float64), settings) for channel in values]
    clips, means, stds = zip(*numbers, strict=True)
    return ResolvedNormalization(clip=tuple(clips), mean=tuple(means), std=tuple(stds), nonzero=settings.nonzero)


def _grid_channel(values: NDArray[np.float64], settings: GridNormalization) -> tuple[tuple[float, float], float, float]:
    counted = values[values != 0] if settings.nonzero else values
    if counted.size == 0:
        return _UNBOUNDED, 0.0, 1.0
    if settings.scale == "std":
        std = float(counted.std())
        return _UNBOUNDED, float(counted.mean()), std if std > 0 else 1.0
    low, high = (float(value) for value in np.percentile(counted, settings.percentiles))
    first, last = settings.target
    std = (high - low) / (last - first) if high > low else 1.0
    return (low, high) if settings.clip else _UNBOUNDED, low - first * std, std


def resolve(
    normalization: Normalization,
    values: NDArray[np.float32],
) -> ResolvedNormalization | None:
    """Return the numbers a card asks for; ``values`` are looked at where they come from the scene.

    Args:
        normalization: Of the card.
        values: ``(channels, ...)`` observed physical values of the scene; of the grid that the network sees for
            ``GridNormalization`` and chains.

    Returns:
        None where values are to stay as they are.
    """
    match normalization:
        case FixedNormalization():
            return ResolvedNormalization(clip=normalization.clip, mean=normalization.mean, std=normalization.std)
        case SceneNormalization():
            return scene_statistics(values, normalization)
        case GridNormalization():
            return grid_statistics(values, normalization)
        case ChainNormalization():
            return _chained(normalization.steps, values)
        case NoNormalization():
            return None


def _chained(
    steps: tuple[FixedNormalization | GridNormalization, ...], values: NDArray[np.float32]
) -> ResolvedNormalization | None:
    if not steps:
        return None
    first = resolve(steps[0], values)
    if first is None:
        raise TypeError("a step of a chain has numbers")
    return replace(first, then=_chained(steps[1:], normalise(values, first)))


def normalise(
    image: NDArray[np.float32], resolved: ResolvedNormalization, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Normalise ``(channels, *shape)``.

    Args:
        image: Physical values; left alone unless it is ``out`` as well.
        resolved: One set of numbers per channel.
        out: Gets the result; a new array where left out.

    Returns:
        Float32 of the image's shape.
    """
    result = np.empty(image.shape, np.float32) if out is None else out
    numbers = zip(resolved.clip, resolved.mean, resolved.std, strict=True)
    for index, ((low, high), mean, std) in enumerate(numbers):
        zero = image[index] == 0 if resolved.nonzero else None
        np.clip(image[index], np.float32(low), np.float32(high), out=result[index])
        result[index] -= np.float32(mean)
        result[index] /= np.float32(std)
        if zero is not None:
            result[index][zero] = 0
    return result if resolved.then is None else normalise(result, resolved.then, out=result)
