"""Seeded changes of a crop that leave its meaning."""

from __future__ import annotations

import torch
from torch import Tensor

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
