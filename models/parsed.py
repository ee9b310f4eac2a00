"""JSON and YAML that others wrote: what cannot be read as plain, shallow data is an error with a reason."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import yaml

from models.plain import load_yaml

# Everything that is read so is far flatter; what is deeper would end in whoever walks through it.
DEEPEST = 64


def from_json(text: str | bytes) -> Any:  # noqa: ANN401 - whatever JSON can say
    """Return what JSON says.

    Raises:
        ValueError: When it is none, or nested deeper than ``DEEPEST``.
    """
    try:
        return _shallow(json.loads(text))
    except RecursionError as error:
        raise ValueError(_too_deep()) from error


def from_yaml(text: str) -> Any:  # noqa: ANN401 - whatever YAML can say
    """Return what YAML says.

    Raises:
        ValueError: When it is none, is nested deeper than ``DEEPEST``, refers to itself, or grows beyond all measure by
            its aliases.
    """
    try:
        return _shallow(load_yaml(text))
    except RecursionError as error:
        raise ValueError(_too_deep()) from error
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    except (AttributeError, IndexError, KeyError, TypeError, OverflowError) as error:
        # What PyYAML makes of a tag whose value does not fit, such as `!!bool perhaps`.
        raise ValueError(f"a value does not fit its tag ({error})") from error


def _shallow(value: Any) -> Any:  # noqa: ANN401 - whatever JSON can say
    level = [value]
    for _ in range(DEEPEST):
        # Each once: what is referred to many times over would be walked through as often.
        level = list({id(inner): inner for outer in level for inner in _held_by(outer)}.values())
        if not level:
            return value
    raise ValueError(_too_deep())


def _held_by(value: Any) -> Iterable[Any]:  # noqa: ANN401 - whatever JSON can say
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def _too_deep() -> str:
    return f"nested deeper than {DEEPEST} levels"
