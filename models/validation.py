"""What pydantic has against a value, in words for whoever wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

_MADE_BY_US = "Value error, "


def explained(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """Say all that is wrong on one line: unknown names with the nearest known ones, missing ones, wrong values.

    Args:
        error: Of a validation.
        model: That was asked for; without it nearest names are not known.
    """
    known = () if model is None else tuple(model.model_fields)
    return "; ".join(dict.fromkeys(_reasons(error, known)))


def _reasons(error: ValidationError, known: tuple[str, ...]) -> Iterator[str]:
    for item in error.errors(include_url=False):
        where = ".".join(map(str, item["loc"]))
        match item["type"]:
            case "extra_forbidden":
                yield f"'{where}' is not known{_nearest(item['loc'], known)}"
            case "missing":
                yield f"'{where}' is missing"
            case _:
                message = item["msg"].removeprefix(_MADE_BY_US)
                yield f"'{where}': {message[:1].lower()}{message[1:]}" if where else message


def _nearest(where: tuple[Any, ...], known: tuple[str, ...]) -> str:
    if not known or len(where) != 1:
        return ""
    close = get_close_matches(str(where[0]), known, n=2, cutoff=0.6)
    meant = f"; did you mean {' or '.join(close)}?" if close else ";"
    return f"{meant} known: {', '.join(known)}"
