"""A MONAI bundle's configuration read as data: references are followed, expressions computed where they are arithmetic.

Nothing that it names is built or called.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import CardError
from models.parsed import from_json, from_yaml
from models.plain import MOST_TEXT_BYTES, read_plain

_REFERENCE = re.compile(r"@(\w+(?:(?:::|#)\w+)*)")
_SUM = re.compile(r"\$\s*@[\w:#]+(?:\s*\+\s*@[\w:#]+)*\s*")
_OPERATIONS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}
_CALLS: dict[str, Callable[[Any], Any]] = {"tuple": list, "list": list, "len": len, "int": int, "float": float}
# What is looked up by name: the keys that MONAI has words for, and types, which are told by their names.
_KEYS = {"IMAGE": "image", "LABEL": "label", "PRED": "pred"}
_TYPES = re.compile(r"(?:torch|numpy|np)\.(float16|float32|float64|int8|uint8|int16|int32|int64|bool)")
_DEEPEST = 32
# What a bundle needs is far below; what refers to itself many times over would grow without end.
_MOST_VALUES = 100_000
_MOST_ENTRIES = 1000
_LARGEST = 1 << 64
# How a component is built, not what it is.
_OURS = ("_target_", "_desc_", "_requires_", "_mode_", "_disabled_")


class _TooMuchError(ValueError):
    """An expression that is arithmetic, of more than anyone needs."""


@dataclass(frozen=True)
class Component:
    """What a configuration would build: the last part of ``_target_``, and its arguments as they stand.

    Attributes:
        config: Where it stands.
        where: Its id, for errors.
        target: As it stands.
        arguments: Not resolved.
    """

    config: Config
    where: str
    target: str
    arguments: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of the class."""
        return self.target.rpartition(".")[2]

    @property
    def is_monais(self) -> bool:
        """Whether it is MONAI's own; what a bundle brings may be called like one of these."""
        return self.target == self.name or self.target.startswith("monai.")

    def take(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - whatever JSON can say
        """Return an argument as plain data.

        Raises:
            CardError: When it is code.
        """
        if name not in self.arguments:
            return default
        return self.config.plain(self.arguments[name], f"{self.where}::{name}")

    def require(self, known: set[str], **fixed: object) -> None:
        """Refuse arguments that are not known, and known ones of another value than the one that can be mapped.

        Raises:
            CardError: Naming the argument.
        """
        for name in self.arguments.keys() - known - fixed.keys():
            raise CardError(f"{self.where}: {self.name} with {name!r} cannot be mapped")
        for name, value in fixed.items():
            if (found := self.take(name, value)) != value:
                raise CardError(f"{self.where}: {self.name} with {name} {found!r} cannot be mapped, only {value!r}")


class Config:
    """The content of one file.

    Args:
        content: As JSON or YAML gives it.
        name: Of the file, for errors.
    """

    def __init__(self, content: Mapping[str, Any], name: str) -> None:
        self._content = content
        self._name = name
        self._n_read = 0

    def plain(self, raw: Any, where: str, depth: int = 0) -> Any:  # noqa: ANN401 - whatever JSON can say
        """Return a value with its references followed.

        Raises:
            CardError: When a reference leads nowhere or in circles, or an expression is more than a little arithmetic.
        """
        if depth > _DEEPEST:
            raise CardError(f"{self._name}: {where} refers to itself")
        self._n_read += 1
        if self._n_read > _MOST_VALUES:
            raise CardError(f"{self._name}: {where} refers to more than {_MOST_VALUES} values; write fewer")
        if isinstance(raw, Mapping):
            return {key: self.plain(value, f"{where}::{key}", depth + 1) for key, value in raw.items()}
        if isinstance(raw, list):
            return [self.plain(value, f"{where}::{k}", depth + 1) for k, value in enumerate(raw)]
        if not isinstance(raw, str) or not raw.startswith(("@", "$", "%")):
            return raw
        if raw.startswith("$"):
            return self._expression(raw[1:], where, depth)
        return self.plain(self._raw(raw[1:], where), where, depth + 1)

    def component(self, raw: Any, where: str) -> Component:  # noqa: ANN401 - whatever JSON can say
        """Return what would be built there.

        Raises:
            CardError: When it is not stated as a component.
        """
        raw = self._followed(raw, where)
        if isinstance(raw, str) and raw.startswith("$"):
            raise CardError(f"{self._name}: {where} is {raw[:200]!r}: code, which is not run")
        if not isinstance(raw, Mapping) or not isinstance(raw.get("_target_"), str):
            raise CardError(f"{self._name}: {where} is not a component with a _target_, and cannot be mapped")
        arguments = {name: value for name, value in raw.items() if name not in _OURS}
        return Component(self, where, raw["_target_"], arguments)

    def is_component(self, raw: Any, where: str) -> bool:  # noqa: ANN401 - whatever JSON can say
        """Tell whether a value would be built, rather than being plain data."""
        raw = self._followed(raw, where)
        return isinstance(raw, Mapping) and "_target_" in raw

    def _followed(self, raw: Any, where: str) -> Any:  # noqa: ANN401 - whatever JSON can say
        for _ in range(_DEEPEST):
            if not isinstance(raw, str) or not raw.startswith(("@", "%")):
                break
            raw = self._raw(raw[1:], where)
        return raw

    def has(self, name: str) -> bool:
        """Tell whether something stands under that id."""
        return name in self._content

    def named(self, name: str) -> Component:
        """Return a component by its id.

        Raises:
            CardError: When there is none.
        """
        if name not in self._content:
            raise CardError(
                f"{self._name}: there is no {name!r}; known here: {', '.join(map(str, self._content))}. Name network, "
                "transforms and inferer as MONAI's bundle specification does"
            )
        return self.component(self._content[name], name)

    def steps(self, name: str) -> list[Component]:
        """Return the transforms of a ``Compose``, less those that are disabled.

        Raises:
            CardError: When it is none.
        """
        compose = self.named(name)
        raw = self._joined(compose.arguments.get("transforms"), name)
        if compose.name != "Compose" or not isinstance(raw, list):
            raise CardError(f"{self._name}: {name} is no Compose of a list of transforms, and cannot be mapped")
        named = [(f"{name}::transforms::{k}", step) for k, step in enumerate(raw)]
        return [self.component(step, where) for where, step in named if not self._is_disabled(step, where)]

    def _joined(self, raw: Any, where: str) -> Any:  # noqa: ANN401 - whatever JSON can say
        """Return a list of components that stands elsewhere, or is several such lists one behind the other."""
        for _ in range(_DEEPEST):
            if isinstance(raw, str) and _SUM.fullmatch(raw):
                parts = [self._joined(self._raw(name, where), where) for name in _REFERENCE.findall(raw)]
                return [step for part in parts for step in part] if all(isinstance(p, list) for p in parts) else raw
            if not isinstance(raw, str) or not raw.startswith(("@", "%")):
                break
            raw = self._raw(raw[1:], where)
        return raw

    def _is_disabled(self, raw: Any, where: str) -> bool:  # noqa: ANN401 - whatever JSON can say
        return isinstance(raw, Mapping) and bool(self.plain(raw.get("_disabled_", False), f"{where}::_disabled_"))

    def _raw(self, name: str, where: str) -> Any:  # noqa: ANN401 - whatever JSON can say
        found: Any = self._content
        for part in re.split("::|#", name):
            if isinstance(found, list) and part.isdigit() and int(part) < len(found):
                found = found[int(part)]
            elif isinstance(found, Mapping) and part in found:
                found = found[part]
            else:
                raise CardError(f"{self._name}: {where} refers to {name!r}, which is not there")
        return found

    def _expression(self, text: str, where: str, depth: int) -> Any:  # noqa: ANN401 - whatever JSON can say
        names: dict[str, Any] = {}

        def note(match: re.Match[str]) -> str:
            key = f"reference_{len(names)}"
            names[key] = self.plain(f"@{match[1]}", where, depth + 1)
            return key

        try:
            tree = ast.parse(_REFERENCE.sub(note, text).strip(), mode="eval")
            return _evaluate(tree.body, names)
        except _TooMuchError as error:
            raise CardError(f"{self._name}: {where}: '${text[:200]}' {error}; write its value instead") from error
        except (SyntaxError, ValueError, TypeError, KeyError, ArithmeticError, RecursionError, MemoryError) as error:
            raise CardError(
                f"{self._name}: {where}: '${text[:200]}' is code, which is not run; write its value instead"
            ) from error


def _evaluate(node: ast.expr, names: Mapping[str, Any]) -> Any:  # noqa: ANN401, C901, PLR0911 - a case per kind of node
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return names[node.id]
        case ast.List() | ast.Tuple():
            return [_evaluate(part, names) for part in node.elts]
        case ast.UnaryOp(op=ast.USub()):
            return -_evaluate(node.operand, names)
        case ast.UnaryOp(op=ast.Not()):
            return not _evaluate(node.operand, names)
        case ast.IfExp():
            return _evaluate(node.body if _evaluate(node.test, names) else node.orelse, names)
        case ast.Subscript(slice=ast.Constant(value=key)):
            return _evaluate(node.value, names)[key]
        case ast.Attribute():
            return _looked_up(ast.unparse(node))
        case ast.BinOp() if type(node.op) in _OPERATIONS:
            return _calculate(type(node.op), _evaluate(node.left, names), _evaluate(node.right, names))
        case ast.Call(func=ast.Name(id=name), args=[only], keywords=[]) if name in _CALLS:
            return _CALLS[name](_evaluate(only, names))
    raise ValueError(ast.dump(node))


def _looked_up(name: str) -> str:
    module, _, last = name.rpartition(".")
    if module.endswith("CommonKeys") and last in _KEYS:
        return _KEYS[last]
    if (found := _TYPES.fullmatch(name)) is not None:
        return found[1]
    raise ValueError(name)


def _calculate(kind: type[ast.operator], left: Any, right: Any) -> Any:  # noqa: ANN401 - whatever JSON can say
    sides = (left, right)
    whole = [abs(side) for side in sides if isinstance(side, int)]
    if any(number > _LARGEST for number in whole):
        raise _TooMuchError(f"computes with a number beyond {_LARGEST}")
    if len(whole) < len(sides):
        # A number beside a sequence is how often that is repeated.
        size = sum(_size(side) for side in sides) * (max(whole, default=1) if kind is ast.Mult else 1)
        if size > _MOST_ENTRIES and any(isinstance(side, Sized) for side in sides):
            raise _TooMuchError(f"makes a list of more than {_MOST_ENTRIES} entries")
    return _OPERATIONS[kind](left, right)


def _size(value: object) -> int:
    """Return how many values there are within one, those of what it holds several times counted each time."""
    if isinstance(value, str | bytes):
        return len(value)
    entries = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return 1 + sum(_size(entry) for entry in entries)


def read_config(path: Path) -> dict[str, Any]:
    """Read a JSON or YAML file.

    Raises:
        CardError: When it cannot be read, or is no mapping.
    """
    try:
        text = read_plain(path, MOST_TEXT_BYTES).decode()
        content = from_json(text) if path.suffix == ".json" else from_yaml(text)
    except (OSError, ValueError) as error:
        raise CardError(f"{path}: cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise CardError(f"{path}: not a mapping")
    return content
