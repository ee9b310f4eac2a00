"""What the transforms behind the network of a MONAI bundle are in the words of a card."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from models.errors import CardError
from models.foreign.monai_config import Component
from models.foreign.monai_transforms import ANYHOW, keys_of, mapping, of_image, refuse_others

_PRED = "pred"


@dataclass(kw_only=True)
class Postprocessing:
    """What was found on the way back.

    Attributes:
        activation: ``softmax``, ``sigmoid`` or none.
        discrete: ``argmax`` or ``threshold`` where labels were made.
        back: As in ``models.card.CentredResampling``; None as long as nothing was inverted.
        regions: Class by channel, the channel that goes before all others first; None where none was made of several.
        largest: Classes of which the largest part is kept; None for all of them.
    """

    activation: Literal["softmax", "sigmoid"] | None = None
    discrete: Literal["argmax", "threshold"] | None = None
    back: Literal["scores", "probabilities", "labels", "numbers"] | None = None
    regions: dict[int, int] | None = None
    largest: tuple[int, ...] | None = ()


def map_postprocessing(steps: list[Component]) -> Postprocessing:
    """Map the transforms behind the network.

    Raises:
        CardError: Naming every transform that cannot be mapped, or the argument that cannot.
    """
    ours = [step for step in steps if "keys" not in step.arguments or _PRED in keys_of(step)]
    refuse_others(ours, _FINISH)
    found = Postprocessing()
    for step in ours:
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
    linear: Literal["scores", "probabilities"] = "scores" if found.activation is None else "probabilities"
    if found.discrete is not None and not nearest:
        # What MONAI saves then lies between labels; a mask holds the nearest one.
        found.back = "numbers"
    else:
        found.back = "labels" if nearest else linear


def _discretise(step: Component, found: Postprocessing) -> None:
    step.require(ANYHOW | {"argmax", "threshold"}, to_onehot=None, rounding=None)
    argmax, threshold = bool(of_image(step.take("argmax", False))), of_image(step.take("threshold"))
    if argmax == (threshold is not None) or (threshold is not None and float(threshold) != 0.5):
        raise CardError(f"{step.where}: AsDiscreted without one of argmax and a threshold of 0.5 cannot be mapped")
    found.discrete = "argmax" if argmax else "threshold"


def _keep_largest(step: Component, found: Postprocessing) -> None:
    step.require(ANYHOW | {"applied_labels"}, is_onehot=None, independent=True, connectivity=None, num_components=1)
    if found.discrete is None:
        raise CardError(f"{step.where}: KeepLargestConnectedComponentd before labels are made cannot be mapped")
    if found.back in ("labels", "numbers"):
        raise CardError(f"{step.where}: KeepLargestConnectedComponentd of labels that came back cannot be mapped")
    labels = step.take("applied_labels")
    found.largest = None if labels is None else tuple(labels) if isinstance(labels, list) else (labels,)


def _combine(step: Component, found: Postprocessing) -> None:
    """Read classes out of overlapping regions: the first region that is there decides; nothing is run."""
    step.require(ANYHOW | {"func", "overwrite", "track_meta"}, inv_func=None)
    text = str(step.arguments.get("func", ""))
    regions = regions_of(text)
    if regions is None or found.discrete != "threshold":
        raise CardError(
            f"{step.where}: Lambdad with {text[:200]!r} is code, which is not run; mapped is torch.where(x[[k]] > 0, "
            "class, ...) of thresholded channels alone"
        )
    found.regions = regions


def regions_of(text: str) -> dict[int, int] | None:
    """Return classes by channel, in their order, of ``$lambda x: torch.where(x[[k]] > 0, class, ... 0)``.

    None where it says anything else.
    """
    try:
        tree = ast.parse(text.removeprefix("$").strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not isinstance(tree, ast.Lambda) or len(tree.args.args) != 1:
        return None
    name, node = tree.args.args[0].arg, tree.body
    found: dict[int, int] = {}
    while True:
        match node:
            case ast.Constant(value=0) if found:
                return found
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="torch"), attr="where"),
                args=[
                    ast.Compare(
                        left=ast.Subscript(value=ast.Name(id=read), slice=place),
                        ops=[ast.Gt()],
                        comparators=[ast.Constant(value=0)],
                    ),
                    ast.Constant(value=int(label)),
                    rest,
                ],
                keywords=[],
            ) if read == name and (channel := _channel(place)) is not None and channel not in found and label > 0:
                found[channel] = label
                node = rest
            case _:
                return None


def _channel(place: ast.expr) -> int | None:
    match place:
        case ast.Constant(value=int(channel)) | ast.List(elts=[ast.Constant(value=int(channel))]):
            return channel
    return None


_FINISH: dict[str, Callable[[Component, Postprocessing], None]] = {
    "Activationsd": _activate,
    "Invertd": _invert,
    "AsDiscreted": _discretise,
    "KeepLargestConnectedComponentd": _keep_largest,
    "Lambdad": _combine,
}
