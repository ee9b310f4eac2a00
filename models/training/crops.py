"""Random crops of scenes, favouring what is rare."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.training.augmentation import augment_values, random_zoom, turn, warp
from models.training.settings import Outside, TrainSettings

IGNORED = 255
_REMEMBERED_PIXELS = 20_000


@dataclass(frozen=True)
class PreparedScene:
    """A normalised scene in torch.

    Attributes:
        layers: Float32: the channels, the positions where the network sees them, and at last 1 where valid;
            ``(layers, *shape)``. What is cut, turned and resized together.
        n_channels: How many of the layers are values of the scene.
        labels: Int64 ``shape``, ``IGNORED`` where not valid.
        foreground: Some pixels that are not background, ``(n, axes)``.
    """

    layers: Tensor
    n_channels: int
    labels: Tensor
    foreground: Tensor

    @property
    def inputs(self) -> Tensor:
        """What the network sees of the whole scene, ``(inputs, *shape)``."""
        return self.layers[:-1]


def prepare(
    image: NDArray[np.float32],
    labels: NDArray[np.integer],
    valid: NDArray[np.bool_],
    position: NDArray[np.float32] | None = None,
) -> PreparedScene:
    """Bring a normalised scene to torch; not observed becomes 0 in the image and ``IGNORED`` in the labels."""
    marked = np.where(valid, labels, IGNORED).astype(np.int64)
    pixels = np.argwhere((marked > 0) & (marked != IGNORED))
    step = max(1, len(pixels) // _REMEMBERED_PIXELS)
    values = np.where(valid, image, np.float32(0))
    layers = [values, *([] if position is None else [position]), valid[None].astype(np.float32)]
    return PreparedScene(
        torch.from_numpy(np.concatenate(layers)),
        len(values),
        torch.from_numpy(marked),
        torch.from_numpy(pixels[::step]),
    )


def random_batch(
    scenes: list[PreparedScene], settings: TrainSettings, generator: torch.Generator, margin: tuple[int, ...] = ()
) -> tuple[Tensor, Tensor]:
    """Draw augmented crops.

    Args:
        scenes: To draw from.
        settings: Crop, batch and augmentation.
        generator: Source of chance.
        margin: Pixels at each side of a crop that the network does not answer for; none when left out.

    Returns:
        Images ``(batch, inputs, *crop)`` float32 and labels ``(batch, *crop less margin)`` int64.
    """
    sides = margin or (0,) * len(settings.crop)
    crops = [_random_crop(scenes, settings, generator, sides) for _ in range(settings.batch)]
    images, labels = zip(*crops, strict=True)
    answered = tuple(slice(side, n - side) for side, n in zip(sides, settings.crop, strict=True))
    return torch.stack(images), torch.stack(labels)[(slice(None), *answered)]


def _random_crop(
    scenes: list[PreparedScene], settings: TrainSettings, generator: torch.Generator, margin: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    scene = scenes[int(torch.randint(len(scenes), (), generator=generator))]
    zoom = random_zoom(settings.augmentation, generator)
    lengths = tuple(max(1, round(length * zoom)) for length in settings.crop)
    # What is answered for decides where a crop lies, so that edges and what is rare are answered for too.
    around = tuple(round(side * zoom) for side in margin)
    answered = tuple(max(1, n - 2 * side) for n, side in zip(lengths, around, strict=True))
    start = _random_origin(scene, answered, settings.foreground, generator)
    origin = [first - side for first, side in zip(start, around, strict=True)]
    layers, labels = cut(scene, origin, lengths, settings.outside)
    if lengths != settings.crop:
        layers, labels = _resize(layers, labels, settings.crop)
    layers, labels = turn(layers, labels, settings.augmentation, generator)
    layers, labels = warp(layers, labels, outside=IGNORED, settings=settings.augmentation, generator=generator)
    values, others = layers[: scene.n_channels], layers[scene.n_channels :]
    # Not the labels tell what was observed: what is mirrored beyond an edge does not count, but is seen.
    values = augment_values(values, others[-1] > 0.5, settings.augmentation, generator)
    return torch.cat([values, others[:-1]]), labels


def _random_origin(
    scene: PreparedScene, lengths: tuple[int, ...], share: float, generator: torch.Generator
) -> list[int]:
    on_foreground = len(scene.foreground) > 0 and float(torch.rand((), generator=generator)) < share
    centre = (
        scene.foreground[int(torch.randint(len(scene.foreground), (), generator=generator))] if on_foreground else None
    )
    origin = []
    for axis, (size, length) in enumerate(zip(scene.labels.shape, lengths, strict=True)):
        # A quarter of a crop may lie outside, so that a pixel at the edge is seen as often as any other.
        low, high = -(length // 4), size - length + length // 4
        if high < low:
            low = high = (size - length) // 2
        if centre is None:
            start = int(torch.randint(low, high + 1, (), generator=generator))
        else:
            back = int(torch.randint(length, (), generator=generator))
            start = min(max(int(centre[axis]) - back, low), high)
        origin.append(start)
    return origin


def cut(scene: PreparedScene, origin: list[int], lengths: tuple[int, ...], outside: Outside) -> tuple[Tensor, Tensor]:
    """Cut layers and labels of a window that may reach over the edge.

    What lies outside is ``IGNORED``; its layers are as asked for.
    """
    layers, labels = scene.layers, scene.labels
    for axis, (start, length) in enumerate(zip(origin, lengths, strict=True)):
        size = scene.labels.shape[axis]
        places = torch.arange(start, start + length)
        inside = mirrored(places, size)
        layers, labels = layers.index_select(axis + 1, inside), labels.index_select(axis, inside)
        beyond = (places < 0) | (places >= size)
        labels.movedim(axis, 0)[beyond] = IGNORED
        if outside == "zero":
            layers.movedim(axis + 1, 0)[beyond] = 0
    return layers, labels


def mirrored(places: Tensor, size: int) -> Tensor:
    """Fold any place into ``[0, size)`` by mirrors at the first and the last pixel's centre."""
    period = max(1, 2 * (size - 1))
    folded = places.remainder(period)
    return torch.minimum(folded, period - folded).clamp_max(size - 1)


def _resize(layers: Tensor, labels: Tensor, crop: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    mode = "bilinear" if len(crop) == 2 else "trilinear"
    resized = functional.interpolate(layers[None], crop, mode=mode, align_corners=False)[0]
    nearest = functional.interpolate(labels[None, None].float(), crop, mode="nearest-exact")[0, 0]
    return resized, nearest.long()
