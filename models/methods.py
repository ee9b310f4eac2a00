"""What a method's arguments are called, are and mean: read from the classes that check them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from models.catalogue import CATALOGUE, FAMILIES, Entry, find, nearest
from models.classical.settings import ARGUMENTS
from models.errors import UnknownModelError
from models.predictors.fakes import FAKES
from models.registry import zoo_cards

_ITEM = re.compile(r"^ {4}(?: {4})?(\w+)(?: \(.*\))?: (.*)$")


@dataclass(frozen=True)
class Argument:
    """One argument that a card gives under ``network.arguments``.

    Attributes:
        name: Its name.
        kind: What values it takes.
        default: As text; None where it has to be given.
        meaning: In a sentence; empty where nothing is said.
    """

    name: str
    kind: str
    default: str | None
    meaning: str


@dataclass(frozen=True)
class Method:
    """A method as the catalogue has it, and what it can be told.

    Attributes:
        name: As a card gives it under ``network.name``.
        entry: Of the catalogue.
        arguments: In the order of their definition.
        members: Names behind the colon, where the method is a whole library.
    """

    name: str
    entry: Entry
    arguments: tuple[Argument, ...]
    members: tuple[str, ...] = ()


def is_method(name: str) -> bool:
    """Tell whether a name is meant for a method rather than for a model."""
    return name in CATALOGUE or name.partition(":")[0] in FAMILIES


def check_known(name: str) -> None:
    """Refuse what is neither a shipped model, nor a method, nor a path.

    Raises:
        UnknownModelError: The text names the nearest of all.
    """
    known = [*zoo_cards(), *CATALOGUE, *FAMILIES]
    if name not in known and not is_method(name) and not Path(name).suffix and not Path(name).exists():
        raise UnknownModelError(
            f"no model or method is called {name!r}{nearest(name, known)}. Give one of these, or the path of a model"
        )


def method(name: str) -> Method:
    """Describe a method, a network of a library (``smp:Unet``), or a library (``smp``); imports what makes it.

    Raises:
        UnknownModelError: When there is none of that name.
    """
    family, colon, network = name.partition(":")
    if family not in FAMILIES:
        entry = find(name)
        return Method(name, entry, _arguments(name, entry))
    library = import_module(FAMILIES[family].module)
    if not colon or network == "NAME":
        return Method(family, FAMILIES[family], (), tuple(sorted(library.constructors(family))))
    kind = library.constructor(family, network)
    meanings = _meanings(kind) | _meanings(kind.__init__)
    own = [_of_parameter(value, meanings) for value in library.own_parameters(kind).values()]
    common = [argument for argument in _of_fields(library.LibraryArguments) if argument.name == "stride"]
    return Method(name, find(name), (*own, *common))


def _arguments(name: str, entry: Entry) -> tuple[Argument, ...]:
    if name in ARGUMENTS:
        # The scene says how many axes, and the fit its numbers; left out, features are the channels as they are.
        told = (argument for argument in _of_fields(ARGUMENTS[name]) if argument.name not in ("ndim", "fitted"))
        return tuple(replace(argument, default="()") if argument.name == "features" else argument for argument in told)
    if name in FAKES:
        parameters = inspect.signature(FAKES[name], eval_str=True).parameters
        return tuple(_of_parameter(value, _meanings(FAKES[name])) for value in parameters.values())
    # What was made elsewhere is described in one place for all of it.
    module = import_module("models.predictors.program" if entry.fitted_by == "others" else entry.module)
    for value in vars(module).values():
        own = inspect.isclass(value) and value.__module__ == module.__name__
        if own and issubclass(value, BaseModel) and value.__name__.endswith("Arguments"):
            return tuple(argument for argument in _of_fields(value) if argument.name not in entry.given)
    return ()


def _of_fields(kind: type[BaseModel]) -> tuple[Argument, ...]:
    meanings: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        meanings |= _meanings(base)
    found = []
    for name, field in kind.model_fields.items():
        default = None if field.is_required() else str(field.get_default(call_default_factory=True))
        found.append(Argument(name, _kind(field.annotation), default, meanings.get(name, "")))
    return tuple(found)


def _of_parameter(parameter: inspect.Parameter, meanings: Mapping[str, str]) -> Argument:
    empty = inspect.Parameter.empty
    kind = "" if parameter.annotation is empty else _kind(parameter.annotation)
    default = None if parameter.default is empty else str(parameter.default)
    return Argument(parameter.name, kind, default, meanings.get(parameter.name, ""))


def _kind(annotation: Any) -> str:  # noqa: ANN401 - whatever stands behind a colon
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(str(value) for value in parts)
    if origin is Annotated:
        return _kind(parts[0])
    if origin in (Union, UnionType):
        return " | ".join(_kind(part) for part in parts)
    if origin is not None and parts:
        return f"{origin.__name__}[{', '.join(_kind(part) for part in parts)}]"
    if annotation in (None, NoneType, Ellipsis):
        return "..." if annotation is Ellipsis else "None"
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _meanings(documented: object) -> dict[str, str]:
    """Return what a docstring of Google's or the libraries' make says of each attribute or argument."""
    meanings: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc(getattr(documented, "__doc__", None) or "").splitlines():
        if found := _ITEM.match(line):
            name = found[1]
            meanings[name] = found[2].strip()
        elif name and line.startswith(" " * 8) and line.strip():
            meanings[name] += f" {line.strip()}"
        else:
            name = ""
    return meanings
