"""Seeded changes of a crop that leave its meaning."""

from __future__ import annotations

import math
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional

from models.training.settings import Augmentation


def random_zoom(settings: Augmentation, generator: torch.Generator) -> float:
    """Draw a factor for the length of what is cut."""
    return 1.0 + settings.zoom * (2 * float(torch.rand((), generator=generator)) - 1)


def turn(image: Tensor, labels: Tensor, settings: Augmentation, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mirror and turn ``(channels, *shape)`` and ``shape`` alike."""
    ndim = labels.ndim
    mirrored = [axis - ndim for axis in range(ndim) if torch.rand((), generator=generator) < 0.5]
    if settings.flip and mirrored:
        image, labels = image.flip(mirrored), labels.flip(mirrored)
    quarters = int(torch.randint(4, (), generator=generator))
    if settings.turn and quarters:
        image, labels = image.rot90(quarters, (-2, -1)), labels.rot90(quarters, (-2, -1))
    return image, labels


def warp(
    layers: Tensor, labels: Tensor, outside: int, settings: Augmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Rotate by a small angle in every plane and stretch every axis, about the middle.

    Args:
        layers: ``(layers, *shape)``; mirrored at the edges.
        labels: ``shape``.
        outside: Label of what comes from beyond the edges.
        settings: How far; angles are those of pixels, whatever their spacing.
        generator: Source of chance.
    """
    if not settings.rotation and not settings.stretch:
        return layers, labels
    size = torch.tensor(labels.shape, dtype=torch.float32)
    # affine_grid counts axes from the last, and each from -1 to 1.
    matrix = (_random_affine(labels.ndim, settings, generator) * size / size[:, None]).flip(0, 1)
    theta = torch.cat([matrix, torch.zeros(labels.ndim, 1)], dim=1)[None]
    grid = functional.affine_grid(theta, [1, 1, *labels.shape], align_corners=False)
    warped = functional.grid_sample(layers[None], grid, "bilinear", "reflection", align_corners=False)[0]
    shifted = (labels - outside)[None, None].float()
    nearest = functional.grid_sample(shifted, grid, "nearest", "zeros", align_corners=False)[0, 0]
    return warped, nearest.round().long() + outside


def _random_affine(ndim: int, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """Return a matrix in pixels, axes in array order."""

    def within(limit: float) -> float:
        return limit * (2 * float(torch.rand((), generator=generator)) - 1)

    matrix = torch.diag(torch.tensor([1 + within(settings.stretch) for _ in range(ndim)]))
    for first, second in combinations(range(ndim), 2):
        angle = math.radians(within(settings.rotation))
        plane = torch.eye(ndim)
        plane[first, first] = plane[second, second] = math.cos(angle)
        plane[first, second], plane[second, first] = -math.sin(angle), math.sin(angle)
        matrix = plane @ matrix
    return matrix


def augment_values(image: Tensor, valid: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """Change contrast, brightness and gamma of each channel and add noise; 0 stays 0 where not valid.

    Args:
        image: Normalised, ``(channels, *shape)``.
        valid: ``shape``.
        settings: How far.
        generator: Source of chance.
    """
    ones = (1,) * valid.ndim

    def per_channel() -> Tensor:
        # Half of each change is common to all channels: illumination; half is the channel's own.
        own = torch.randn((image.shape[0], *ones), generator=generator)
        return (own + torch.randn((1, *ones), generator=generator)) / 2**0.5

    changed = image * (1 + settings.contrast * per_channel()) + settings.brightness * per_channel()
    if settings.gamma:
        exponent = torch.exp(settings.gamma * (2 * torch.rand((), generator=generator) - 1))
        low, high = changed.amin(), changed.amax()
        span = (high - low).clamp_min(1e-6)
        changed = ((changed - low) / span) ** exponent * span + low
    if settings.noise:
        changed = changed + settings.noise * torch.randn(image.shape, generator=generator)
    return changed * valid
