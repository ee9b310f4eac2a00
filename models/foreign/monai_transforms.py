"""What the mappings of a MONAI bundle's transforms have in common: refusals that name the transform."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from models.errors import CardError
from models.foreign.monai_config import Component

# The values stay what they are.
_WITHOUT_EFFECT = {
    "LoadImaged", "EnsureChannelFirstd", "EnsureTyped", "ToTensord", "ToDeviced", "SelectItemsd", "DeleteItemsd",
    "Identityd", "SaveImaged", "SqueezeDimd",
}  # fmt: skip
ANYHOW = {"keys", "allow_missing_keys", "dtype", "lazy"}


def refuse_others(steps: list[Component], known: dict[str, Any]) -> None:
    """Refuse transforms that can neither be mapped nor left out.

    Raises:
        CardError: Naming all of them.
    """
    mapped = known.keys() | _WITHOUT_EFFECT
    others = [f"{step.target} ({step.where})" for step in steps if step.name not in mapped or not step.is_monais]
    if others:
        raise CardError(
            f"transforms that cannot be mapped: {', '.join(others)}; known: {', '.join(sorted(known))}, and those that "
            "only load, convert or save. Leave them out if the model does without, or run the bundle in MONAI"
        )


@contextmanager
def mapping(step: Component) -> Iterator[None]:
    """Refuse arguments that are missing or of a kind that MONAI does not take either.

    Raises:
        CardError: Naming the transform.
    """
    try:
        yield
    except (TypeError, ValueError, IndexError, ZeroDivisionError) as error:
        raise CardError(f"{step.where}: the arguments of {step.name} cannot be mapped: {error}") from error


def keys_of(step: Component) -> list[str]:
    """Return the keys that a transform works on."""
    keys = step.take("keys", [])
    return [keys] if isinstance(keys, str) else list(keys)


def of_image(value: Any) -> Any:  # noqa: ANN401 - one value, or one for each key
    """Return a value that may be given for each key, of which the image is the first."""
    return value[0] if isinstance(value, list | tuple) else value
