"""What the transforms and the inferer of a MONAI bundle are in the words of a card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from models.card import (
    FixedNormalization,
    GridNormalization,
    NoNormalization,
    Normalization,
    Spacing,
    Tiling,
)
from models.errors import CardError
from models.foreign.monai_config import Component

# The values stay what they are.
_WITHOUT_EFFECT = {
    "LoadImaged", "EnsureChannelFirstd", "EnsureTyped", "ToTensord", "ToDeviced", "SelectItemsd", "DeleteItemsd",
    "Identityd", "SaveImaged", "SqueezeDimd",
}  # fmt: skip
_ANYHOW = {"keys", "allow_missing_keys", "dtype", "lazy"}
# Further than any value of float32.
_UNBOUNDED = (-3.4028235e38, 3.4028235e38)


@dataclass
class Preprocessing:
    """What was found on the way to the network.

    Attributes:
        orientation: Axis codes.
        spacing_mm: Along these axes; None where it is kept.
        normalization: Of values.
    """

    orientation: str | None = None
    spacing_mm: Spacing | None = None
    normalization: Normalization = field(default_factory=NoNormalization)


@dataclass
class Postprocessing:
    """What was found on the way back.

    Attributes:
        activation: ``softmax``, ``sigmoid`` or none.
        discrete: ``argmax`` or ``threshold`` where labels were made.
        back: As in ``models.card.CentredResampling``; None as long as nothing was inverted.
    """

    activation: Literal["softmax", "sigmoid"] | None = None
    discrete: Literal["argmax", "threshold"] | None = None
    back: Literal["scores", "probabilities", "labels"] | None = None


def map_preprocessing(steps: list[Component], n_channels: int) -> Preprocessing:
    """Map the transforms before the network.

    Args:
        steps: In their order.
        n_channels: Of the image.

    Raises:
        CardError: Naming every transform that cannot be mapped, or the argument that cannot.
    """
    image = _image_key(steps)
    ours = [step for step in steps if image in _keys(step)]
    _refuse_others(ours, _PREPARE)
    found = Preprocessing()
    for step in ours:
        if step.name in _PREPARE:
            _PREPARE[step.name](step, found, n_channels)
    if found.orientation is None:
        raise CardError(
            "preprocessing has no Orientationd: the axes that the network sees would depend on the file; "
            "add one with the axcodes of the training images"
        )
    return found


def map_postprocessing(steps: list[Component]) -> Postprocessing:
    """Map the transforms behind the network; errors as of ``map_preprocessing``."""
    _refuse_others(steps, _FINISH)
    found = Postprocessing()
    for step in steps:
        if step.name in _FINISH:
            _FINISH[step.name](step, found)
    return found


def map_inferer(inferer: Component) -> Tiling:
    """Map a sliding window.

    Raises:
        CardError: When it is another inferer, or one that does what cannot be mapped.
    """
    if inferer.name != "SlidingWindowInferer":
        raise CardError(f"inferer {inferer.name} cannot be mapped, only SlidingWindowInferer")
    inferer.require(
        {"roi_size", "sw_batch_size", "overlap", "mode", "sigma_scale", "sw_device", "device", "progress",
         "cache_roi_weight_map", "cpu_thresh", "buffer_steps", "buffer_dim"},
        padding_mode="constant", cval=0, with_coord=False,
    )  # fmt: skip
    tile = _three(inferer.take("roi_size"))
    if any(not isinstance(length, int) or length < 1 for length in tile):
        raise CardError(f"inferer: roi_size {tile} has axes without a length, and cannot be mapped")
    shares = _three(inferer.take("overlap", 0.25))
    steps = tuple(max(1, int(length * (1 - share))) for length, share in zip(tile, shares, strict=True))
    mode = str(inferer.take("mode", "constant"))
    if mode not in {"constant", "gaussian"}:
        raise CardError(f"inferer: mode {mode!r} cannot be mapped, only 'constant' and 'gaussian'")
    sigmas = _three(inferer.take("sigma_scale", 0.125))
    if mode == "gaussian" and len(set(sigmas)) > 1:
        raise CardError(f"inferer: sigma_scale {sigmas} cannot be mapped, only one number")
    return Tiling(
        tile=tile,
        halo=(0, 0, 0),
        overlap=tuple(length - step for length, step in zip(tile, steps, strict=True)),
        placement="shifted",
        sigma=float(sigmas[0]) if mode == "gaussian" else None,
        blend="logits",
    )


def _refuse_others(steps: list[Component], known: dict[str, Any]) -> None:
    others = [f"{step.name} ({step.where})" for step in steps if step.name not in known.keys() | _WITHOUT_EFFECT]
    if others:
        raise CardError(
            f"transforms that cannot be mapped: {', '.join(others)}; known: {', '.join(sorted(known))}, and those that "
            "only load, convert or save. Leave them out if the model does without, or run the bundle in MONAI"
        )


def _image_key(steps: list[Component]) -> str:
    for step in steps:
        if step.name == "LoadImaged":
            return _keys(step)[0]
    return "image"


def _keys(step: Component) -> list[str]:
    keys = step.take("keys", [])
    return [keys] if isinstance(keys, str) else list(keys)


def _three(value: Any) -> tuple[Any, Any, Any]:  # noqa: ANN401 - one number or three
    values = list(value) if isinstance(value, list | tuple) else [value] * 3
    if len(values) != 3:
        raise CardError(f"{value!r} does not have one number for each of three axes; other bundles cannot be mapped")
    return values[0], values[1], values[2]


def _of_image(value: Any) -> Any:  # noqa: ANN401 - one value, or one for each key
    return value[0] if isinstance(value, list | tuple) else value


def _orient(step: Component, found: Preprocessing, _: int) -> None:
    step.require(_ANYHOW | {"axcodes", "labels"}, as_closest_canonical=False)
    isotropic = found.spacing_mm is None or len(set(found.spacing_mm)) == 1
    if not isotropic:
        raise CardError(f"{step.where}: Orientationd after a Spacingd that is not the same along all axes; swap them")
    found.orientation = str(step.take("axcodes"))


def _space(step: Component, found: Preprocessing, _: int) -> None:
    step.require(
        _ANYHOW | {"pixdim", "mode", "padding_mode", "align_corners", "ensure_same_shape"},
        diagonal=False, scale_extent=False, recompute_affine=False, min_pixdim=None, max_pixdim=None,
    )  # fmt: skip
    for name, wanted in (("mode", "bilinear"), ("padding_mode", "border")):
        if (value := _of_image(step.take(name, wanted))) != wanted:
            raise CardError(f"{step.where}: Spacingd with {name} {value!r} cannot be mapped, only {wanted!r}")
    if isinstance(found.normalization, FixedNormalization):
        bounded = any(clip != _UNBOUNDED for clip in found.normalization.clip)
    else:
        bounded = not isinstance(found.normalization, NoNormalization)
    if bounded:
        raise CardError(f"{step.where}: Spacingd behind a transform of intensities that clips or looks at the image; ")
    given = step.take("pixdim")
    pixdim = list(given) if isinstance(given, list | tuple) else [given]
    pixdim += [pixdim[-1]] * (3 - len(pixdim))
    first, second, third = (float(length) if length > 0 else None for length in pixdim[:3])
    found.spacing_mm = (first, second, third)


def _normalise(step: Component, found: Preprocessing, normalization: Normalization) -> None:
    if not isinstance(found.normalization, NoNormalization):
        raise CardError(f"{step.where}: a second transform of intensities, {step.name}, cannot be mapped")
    found.normalization = normalization


def _scale_range(step: Component, found: Preprocessing, n_channels: int) -> None:
    step.require(_ANYHOW | {"a_min", "a_max", "b_min", "b_max", "clip"})
    low, high = float(step.take("a_min")), float(step.take("a_max"))
    first, last = step.take("b_min"), step.take("b_max")
    clips = bool(step.take("clip", False))
    if high <= low or (clips and (first is None or last is None)):
        raise CardError(f"{step.where}: ScaleIntensityRanged from {low} to {high} cannot be mapped")
    start, end = (0.0, 1.0) if first is None or last is None else (float(first), float(last))
    std = (high - low) / (end - start)
    clip = (low, high) if clips else _UNBOUNDED
    _normalise(step, found, _fixed(clip, low - start * std, std, n_channels))


def _fixed(clip: tuple[float, float], mean: float, std: float, n_channels: int) -> FixedNormalization:
    return FixedNormalization(clip=(clip,) * n_channels, mean=(mean,) * n_channels, std=(std,) * n_channels)


def _normalise_intensity(step: Component, found: Preprocessing, n_channels: int) -> None:
    step.require(_ANYHOW | {"subtrahend", "divisor", "nonzero", "channel_wise"})
    nonzero, subtrahend, divisor = (bool(step.take("nonzero", False)), step.take("subtrahend"), step.take("divisor"))
    if n_channels > 1 and not step.take("channel_wise", False):
        raise CardError(f"{step.where}: NormalizeIntensityd over all channels together cannot be mapped")
    if subtrahend is None and divisor is None:
        _normalise(step, found, GridNormalization(scale="std", nonzero=nonzero))
        return
    if subtrahend is None or divisor is None or nonzero:
        raise CardError(f"{step.where}: NormalizeIntensityd with one number of its own and one of the image, or zeros")
    means, stds = (value if isinstance(value, list) else [value] * n_channels for value in (subtrahend, divisor))
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
    step.require(_ANYHOW | {"minv", "maxv", "channel_wise"}, factor=None)
    _whole_image(step, n_channels)
    target = (float(step.take("minv", 0.0)), float(step.take("maxv", 1.0)))
    _normalise(step, found, GridNormalization(scale="range", target=target))


def _scale_percentiles(step: Component, found: Preprocessing, n_channels: int) -> None:
    step.require(_ANYHOW | {"lower", "upper", "b_min", "b_max", "clip", "channel_wise"}, relative=False)
    _whole_image(step, n_channels)
    target = (float(step.take("b_min")), float(step.take("b_max")))
    percentiles = (float(step.take("lower")), float(step.take("upper")))
    clip = bool(step.take("clip", False))
    _normalise(step, found, GridNormalization(scale="range", percentiles=percentiles, target=target, clip=clip))


def _whole_image(step: Component, n_channels: int) -> None:
    if n_channels > 1 and not step.take("channel_wise", False):
        raise CardError(f"{step.where}: {step.name} over all channels together cannot be mapped")


def _cast(step: Component, _: Preprocessing, __: int) -> None:
    # The type is an expression of code, but its name tells.
    if "float32" not in str(step.arguments.get("dtype", "float32")):
        raise CardError(f"{step.where}: CastToTyped to {step.arguments['dtype']!r} cannot be mapped, only to float32")


def _activate(step: Component, found: Postprocessing) -> None:
    step.require(_ANYHOW | {"softmax", "sigmoid"}, other=None, kernel_size=None)
    softmax, sigmoid = (bool(_of_image(step.take(name, False))) for name in ("softmax", "sigmoid"))
    if softmax == sigmoid or found.activation is not None:
        raise CardError(f"{step.where}: Activationsd without one of softmax and sigmoid cannot be mapped")
    found.activation = "softmax" if softmax else "sigmoid"


def _invert(step: Component, found: Postprocessing) -> None:
    step.require(
        _ANYHOW | {"transform", "orig_keys", "meta_keys", "orig_meta_keys", "meta_key_postfix", "nearest_interp",
                   "to_tensor", "device"},
        post_func=None,
    )  # fmt: skip
    nearest = bool(_of_image(step.take("nearest_interp", True)))
    if found.discrete is not None and not nearest:
        raise CardError(f"{step.where}: labels that are interpolated linearly cannot be mapped; set nearest_interp")
    linear: Literal["scores", "probabilities"] = "scores" if found.activation is None else "probabilities"
    found.back = "labels" if nearest else linear


def _discretise(step: Component, found: Postprocessing) -> None:
    step.require(_ANYHOW | {"argmax", "threshold"}, to_onehot=None, rounding=None)
    argmax, threshold = bool(_of_image(step.take("argmax", False))), _of_image(step.take("threshold"))
    if argmax == (threshold is not None) or (threshold is not None and float(threshold) != 0.5):
        raise CardError(f"{step.where}: AsDiscreted without one of argmax and a threshold of 0.5 cannot be mapped")
    found.discrete = "argmax" if argmax else "threshold"


_PREPARE: dict[str, Callable[[Component, Preprocessing, int], None]] = {
    "Orientationd": _orient,
    "Spacingd": _space,
    "ScaleIntensityRanged": _scale_range,
    "NormalizeIntensityd": _normalise_intensity,
    "ScaleIntensityd": _scale,
    "ScaleIntensityRangePercentilesd": _scale_percentiles,
    "CastToTyped": _cast,
}
_FINISH: dict[str, Callable[[Component, Postprocessing], None]] = {
    "Activationsd": _activate,
    "Invertd": _invert,
    "AsDiscreted": _discretise,
}
