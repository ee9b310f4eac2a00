"""What the sliding window of a MONAI bundle is in the words of a card."""

from __future__ import annotations

from typing import Any

from models.card import Beyond, Tiling
from models.errors import CardError
from models.foreign.monai_config import Component
from models.foreign.monai_transforms import mapping

# What a network is tried out with that is shown whole volumes: a multiple of every likely stride.
_TRIED = 64
_BEYOND: dict[str, Beyond] = {"constant": "zeros", "replicate": "edge"}


def map_inferer(inferer: Component) -> tuple[Tiling, int | None]:
    """Map a sliding window.

    Returns:
        The tiling, and the axis of the image across which a network of two axes is shown slices; None for one that sees
        volumes. In the tiling that axis is the first.

    Raises:
        CardError: When it is another inferer, or one that does what cannot be mapped.
    """
    if not inferer.is_monais:
        raise CardError(f"inferer {inferer.target!r} is code of the bundle, which is not run; known are MONAI's own")
    if inferer.name == "SimpleInferer":
        return Tiling(tile=(_TRIED,) * 3, whole=True, halo=(0, 0, 0), overlap=(0, 0, 0), blend="logits"), None
    if inferer.name not in ("SlidingWindowInferer", "SliceInferer"):
        raise CardError(
            f"inferer {inferer.name} cannot be mapped, only SlidingWindowInferer, SliceInferer and SimpleInferer"
        )
    inferer.require(
        {"padding_mode", "roi_size", "sw_batch_size", "overlap", "mode", "sigma_scale", "sw_device", "device",
         "progress", "cache_roi_weight_map", "cpu_thresh", "buffer_steps", "buffer_dim"}
        | ({"spatial_dim"} if inferer.name == "SliceInferer" else set()),
        cval=0, with_coord=False,
    )  # fmt: skip
    across = _across(inferer) if inferer.name == "SliceInferer" else None
    padding = str(inferer.take("padding_mode", "constant"))
    if padding not in _BEYOND:
        raise CardError(f"inferer: padding_mode {padding!r} cannot be mapped, only {', '.join(_BEYOND)}")
    tile = _three(inferer.take("roi_size")) if across is None else (1, *_two(inferer.take("roi_size")))
    if any(not isinstance(length, int) or length < 1 for length in tile):
        raise CardError(f"inferer: roi_size {tile} has axes without a length, and cannot be mapped")
    shares = _three(inferer.take("overlap", 0.25))
    mode = str(inferer.take("mode", "constant"))
    if mode not in {"constant", "gaussian"}:
        raise CardError(f"inferer: mode {mode!r} cannot be mapped, only 'constant' and 'gaussian'")
    sigmas = _three(inferer.take("sigma_scale", 0.125))
    if mode == "gaussian" and len(set(sigmas)) > 1:
        raise CardError(f"inferer: sigma_scale {sigmas} cannot be mapped, only one number")
    with mapping(inferer):
        if any(not 0 <= share < 1 for share in shares):
            raise ValueError(f"overlap {shares} is not from 0 to less than 1")
        steps = tuple(max(1, int(length * (1 - share))) for length, share in zip(tile, shares, strict=True))
        tiling = Tiling(
            tile=tile,
            halo=(0, 0, 0),
            overlap=tuple(length - step for length, step in zip(tile, steps, strict=True)),
            placement="shifted",
            sigma=float(sigmas[0]) if mode == "gaussian" else None,
            beyond=_BEYOND[padding],
            blend="logits",
        )
        return tiling, across


def _across(inferer: Component) -> int:
    across = inferer.take("spatial_dim", 0)
    if across not in (0, 1, 2):
        raise CardError(f"inferer: spatial_dim {across!r} is no axis of a volume")
    return int(across)


def _two(value: Any) -> tuple[Any, Any]:  # noqa: ANN401 - one number or two
    values = list(value) if isinstance(value, list | tuple) else [value] * 2
    if len(values) != 2:
        raise CardError(f"{value!r} does not have one number for each of the two axes of a slice")
    return values[0], values[1]


def _three(value: Any) -> tuple[Any, Any, Any]:  # noqa: ANN401 - one number or three
    values = list(value) if isinstance(value, list | tuple) else [value] * 3
    if len(values) != 3:
        raise CardError(f"{value!r} does not have one number for each of three axes; other bundles cannot be mapped")
    return values[0], values[1], values[2]
