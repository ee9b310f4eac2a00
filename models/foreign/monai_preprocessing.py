"""What the transforms before the network of a MONAI bundle are in the words of a card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from models.card import (
    ChainNormalization,
    FixedNormalization,
    GridNormalization,
    NoNormalization,
    Normalization,
    Spacing,
)
from models.errors import CardError
from models.foreign.monai_config import Component
from models.foreign.monai_transforms import ANYHOW, keys_of, mapping, of_image, refuse_others

# Further than any value of float32.
_UNBOUNDED = (-3.4028235e38, 3.4028235e38)


@dataclass
class Preprocessing:
    """What was found on the way to the network.

    Attributes:
        orientation: Axis codes; the file's own axes where nothing turns them.
        spacing_mm: Along these axes; None where it is kept.
        normalization: Of values.
        foreground: The physical value above which a crop keeps; None without a crop.
    """

    orientation: str = "ijk"
    spacing_mm: Spacing | None = None
    normalization: Normalization = field(default_factory=NoNormalization)
    foreground: float | None = None


def map_preprocessing(steps: list[Component], n_channels: int) -> Preprocessing:
    """Map the transforms before the network.

    Args:
        steps: In their order.
        n_channels: Of the image.

    Raises:
        CardError: Naming every transform that cannot be mapped, or the argument that cannot.
    """
    image = _image_key(steps)
    # One without keys may do anything to the image.
    ours = [step for step in steps if "keys" not in step.arguments or image in keys_of(step)]
    refuse_others(ours, _PREPARE)
    found = Preprocessing()
    for step in ours:
        if step.name in _PREPARE:
            with mapping(step):
                _PREPARE[step.name](step, found, n_channels)
    return found


def _image_key(steps: list[Component]) -> str:
    for step in steps:
        if step.name == "LoadImaged":
            return keys_of(step)[0]
    return "image"


def _orient(step: Component, found: Preprocessing, _: int) -> None:
    step.require(ANYHOW | {"axcodes", "labels"}, as_closest_canonical=False)
    if found.foreground is not None:
        raise CardError(f"{step.where}: Orientationd behind a CropForegroundd cannot be mapped; put it before")
    isotropic = found.spacing_mm is None or len(set(found.spacing_mm)) == 1
    if not isotropic:
        raise CardError(f"{step.where}: Orientationd after a Spacingd that is not the same along all axes; swap them")
    found.orientation = str(step.take("axcodes"))


def _space(step: Component, found: Preprocessing, _: int) -> None:
    step.require(
        ANYHOW | {"pixdim", "mode", "padding_mode", "align_corners", "ensure_same_shape"},
        diagonal=False, scale_extent=False, recompute_affine=False, min_pixdim=None, max_pixdim=None,
    )  # fmt: skip
    for name, wanted in (("mode", "bilinear"), ("padding_mode", "border")):
        if (value := of_image(step.take(name, wanted))) != wanted:
            raise CardError(f"{step.where}: Spacingd with {name} {value!r} cannot be mapped, only {wanted!r}")
    if isinstance(found.normalization, FixedNormalization):
        bounded = any(clip != _UNBOUNDED for clip in found.normalization.clip)
    else:
        bounded = not isinstance(found.normalization, NoNormalization)
    if bounded:
        raise CardError(
            f"{step.where}: Spacingd behind a transform of intensities that clips or looks at the image; put it before"
        )
    given = step.take("pixdim")
    pixdim = list(given) if isinstance(given, list | tuple) else [given]
    pixdim += [pixdim[-1]] * (3 - len(pixdim))
    first, second, third = (float(length) if length > 0 else None for length in pixdim[:3])
    if found.foreground is not None:
        raise CardError(f"{step.where}: Spacingd behind a CropForegroundd cannot be mapped; put it before")
    found.spacing_mm = (first, second, third)


def _normalise(step: Component, found: Preprocessing, normalization: Normalization) -> None:
    if not isinstance(normalization, FixedNormalization | GridNormalization):
        raise TypeError(f"{step.name} became {type(normalization).__name__}")
    match found.normalization:
        case NoNormalization():
            found.normalization = normalization
        case ChainNormalization(steps=steps):
            found.normalization = ChainNormalization(steps=(*steps, normalization))
        case FixedNormalization() | GridNormalization() as first:
            found.normalization = ChainNormalization(steps=(first, normalization))
        case other:
            raise CardError(f"{step.where}: {step.name} behind {other.kind} cannot be mapped")


def _scale_range(step: Component, found: Preprocessing, n_channels: int) -> None:
    step.require(ANYHOW | {"a_min", "a_max", "b_min", "b_max", "clip"})
    low, high = float(step.take("a_min")), float(step.take("a_max"))
    first, last = step.take("b_min"), step.take("b_max")
    clips = bool(step.take("clip", False))
    if high <= low or (clips and (first is None or last is None)):
        raise CardError(f"{step.where}: ScaleIntensityRanged from {low} to {high} cannot be mapped")
    start, end = (0.0, 1.0) if first is None or last is None else (float(first), float(last))
    if start >= end:
        raise ValueError(f"b_min {start} is not below b_max {end}")
    std = (high - low) / (end - start)
    clip = (low, high) if clips else _UNBOUNDED
    _normalise(step, found, _fixed(clip, low - start * std, std, n_channels))


def _fixed(clip: tuple[float, float], mean: float, std: float, n_channels: int) -> FixedNormalization:
    return FixedNormalization(clip=(clip,) * n_channels, mean=(mean,) * n_channels, std=(std,) * n_channels)


def _normalise_intensity(step: Component, found: Preprocessing, n_channels: int) -> None:
    step.require(ANYHOW | {"subtrahend", "divisor", "nonzero", "channel_wise"})
    nonzero, subtrahend, divisor = (bool(step.take("nonzero", False)), step.take("subtrahend"), step.take("divisor"))
    if n_channels > 1 and not step.take("channel_wise", False):
        raise CardError(f"{step.where}: NormalizeIntensityd over all channels together cannot be mapped")
    if subtrahend is None and divisor is None:
        _normalise(step, found, GridNormalization(scale="std", nonzero=nonzero))
        return
    if subtrahend is None or divisor is None or nonzero:
        raise CardError(f"{step.where}: NormalizeIntensityd with one number of its own and one of the image, or zeros")
    means, stds = (value if isinstance(value, list) else [value] * n_channels for value in (subtrahend, divisor))
    if len(means) != n_channels or len(stds) != n_channels:
        raise ValueError(f"{len(means)} subtrahends and {len(stds)} divisors for {n_channels} channels")
    _normalise(
        step,
        found,
        FixedNormalization(
            clip=(_UNBOUNDED,) * n_channels,
            mean=tuple(float(mean) for mean in means),
            std=tuple(float(std) or 1.0 for std in stds),
        ),
    )


def _scale(step: Component, found: Preprocessing, n_channels: int) -> None:
    step.require(ANYHOW | {"minv", "maxv", "channel_wise"}, factor=None)
    _whole_image(step, n_channels)
    target = (float(step.take("minv", 0.0)), float(step.take("maxv", 1.0)))
    _normalise(step, found, GridNormalization(scale="range", target=target))


def _scale_percentiles(step: Component, found: Preprocessing, n_channels: int) -> None:
    step.require(ANYHOW | {"lower", "upper", "b_min", "b_max", "clip", "channel_wise"}, relative=False)
    _whole_image(step, n_channels)
    target = (float(step.take("b_min")), float(step.take("b_max")))
    percentiles = (float(step.take("lower")), float(step.take("upper")))
    clip = bool(step.take("clip", False))
    _normalise(step, found, GridNormalization(scale="range", percentiles=percentiles, target=target, clip=clip))


def _whole_image(step: Component, n_channels: int) -> None:
    if n_channels > 1 and not step.take("channel_wise", False):
        raise CardError(f"{step.where}: {step.name} over all channels together cannot be mapped")


def _crop(step: Component, found: Preprocessing, n_channels: int) -> None:
    step.require(
        ANYHOW | {"source_key", "mode", "start_coord_key", "end_coord_key", "channel_indices"},
        select_fn=None, margin=0, allow_smaller=True, k_divisible=1,
    )  # fmt: skip
    if step.take("source_key") != keys_of(step)[0] or step.take("channel_indices") is not None:
        raise CardError(f"{step.where}: CropForegroundd by another key, or by some of the channels, cannot be mapped")
    # What is above 0 then: of a range that is mapped, and of values as they are, a physical value says the same.
    match found.normalization:
        case NoNormalization():
            found.foreground = 0.0
        case FixedNormalization(mean=means) if len(set(means)) == 1 and _keeps_order(found.normalization):
            found.foreground = means[0]
        case _:
            raise CardError(
                f"{step.where}: CropForegroundd behind a transform that looks at the image cannot be mapped"
            )


def _keeps_order(normalization: FixedNormalization) -> bool:
    """Tell whether a value is above 0 afterwards where it is above the mean, and never by the clip alone."""
    bounds = zip(normalization.clip, normalization.mean, normalization.std, strict=True)
    return all(std > 0 and low <= mean < high for (low, high), mean, std in bounds)


def _cast(step: Component, _: Preprocessing, __: int) -> None:
    # The type is an expression of code, but its name tells.
    if "float32" not in str(step.arguments.get("dtype", "float32")):
        raise CardError(f"{step.where}: CastToTyped to {step.arguments['dtype']!r} cannot be mapped, only to float32")


_PREPARE: dict[str, Callable[[Component, Preprocessing, int], None]] = {
    "Orientationd": _orient,
    "Spacingd": _space,
    "ScaleIntensityRanged": _scale_range,
    "NormalizeIntensityd": _normalise_intensity,
    "ScaleIntensityd": _scale,
    "ScaleIntensityRangePercentilesd": _scale_percentiles,
    "CastToTyped": _cast,
    "CropForegroundd": _crop,
}
