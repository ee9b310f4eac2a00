"""What the transforms behind the network of a MONAI bundle are in the words of a card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from models.errors import CardError
from models.foreign.monai_config import Component
from models.foreign.monai_transforms import ANYHOW, mapping, of_image, refuse_others


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


def map_postprocessing(steps: list[Component]) -> Postprocessing:
    """Map the transforms behind the network.

    Raises:
        CardError: Naming every transform that cannot be mapped, or the argument that cannot.
    """
    refuse_others(steps, _FINISH)
    found = Postprocessing()
    for step in steps:
        if step.name in _FINISH:
            with mapping(step):
                _FINISH[step.name](step, found)
    return found


def _activate(step: Component, found: Postprocessing) -> None:
    step.require(ANYHOW | {"softmax", "sigmoid"}, other=None, kernel_size=None)
    softmax, sigmoid = (bool(of_image(step.take(name, False))) for name in ("softmax", "sigmoid"))
    if softmax == sigmoid or found.activation is not None:
        raise CardError(f"{step.where}: Activationsd without one of softmax and sigmoid cannot be mapped")
    found.activation = "softmax" if softmax else "sigmoid"


def _invert(step: Component, found: Postprocessing) -> None:
    step.require(
        ANYHOW | {"transform", "orig_keys", "meta_keys", "orig_meta_keys", "meta_key_postfix", "nearest_interp",
                   "to_tensor", "device"},
        post_func=None,
    )  # fmt: skip
    nearest = bool(of_image(step.take("nearest_interp", True)))
    if found.discrete is not None and not nearest:
        raise CardError(f"{step.where}: labels that are interpolated linearly cannot be mapped; set nearest_interp")
    linear: Literal["scores", "probabilities"] = "scores" if found.activation is None else "probabilities"
    found.back = "labels" if nearest else linear


def _discretise(step: Component, found: Postprocessing) -> None:
    step.require(ANYHOW | {"argmax", "threshold"}, to_onehot=None, rounding=None)
    argmax, threshold = bool(of_image(step.take("argmax", False))), of_image(step.take("threshold"))
    if argmax == (threshold is not None) or (threshold is not None and float(threshold) != 0.5):
        raise CardError(f"{step.where}: AsDiscreted without one of argmax and a threshold of 0.5 cannot be mapped")
    found.discrete = "argmax" if argmax else "threshold"


_FINISH: dict[str, Callable[[Component, Postprocessing], None]] = {
    "Activationsd": _activate,
    "Invertd": _invert,
    "AsDiscreted": _discretise,
}
