"""Index expressions over bands, such as ``(B8 - B12) / (B8 + B12)``: parsed, never executed as code."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.classical.chunks import chunks
from models.errors import ExpressionError

# An array, or a number of NumPy: powers of Python's own numbers may take for ever, or be complex.
_Values: TypeAlias = Any

_OPERATORS: dict[type[ast.operator], Callable[[_Values, _Values], _Values]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_OF_ONE: dict[str, Callable[[_Values], _Values]] = {"abs": np.abs, "sqrt": np.sqrt, "log": np.log, "exp": np.exp}
_OF_SEVERAL: dict[str, Callable[[_Values, _Values], _Values]] = {"min": np.minimum, "max": np.maximum}
_FUNCTIONS = (*_OF_ONE, *_OF_SEVERAL)

# Longer ones would be nested deeper than Python likes to recurse.
_LONGEST = 300


@dataclass(frozen=True)
class Expression:
    """A number per pixel.

    Attributes:
        text: As it was written.
        bands: Names in the order in which they occur first.
    """

    text: str
    bands: tuple[str, ...]
    _tree: ast.expr

    def __call__(self, values: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Evaluate, in float64, for arrays of one shape.

        Args:
            values: Physical values of every band.

        Returns:
            Float32 of the bands' shape; NaN or infinite where the expression has no value: division by zero, the
            logarithm or square root of a negative number.
        """
        stack = np.stack([values[name].reshape(-1) for name in self.bands])
        result = np.empty(stack.shape[1], np.float32)
        with np.errstate(all="ignore"):
            for part, chunk in chunks(stack):
                named = dict(zip(self.bands, chunk, strict=True))
                result[part] = _evaluate(self._tree, named)[: part.stop - part.start]
        return result.reshape(values[self.bands[0]].shape)


@lru_cache(maxsize=256)
def parse_expression(text: str, known: Collection[str] = ()) -> Expression:
    """Parse numbers, bands, ``+ - * / **``, parentheses, and abs, sqrt, log, exp, min, max.

    Args:
        text: A band, or an expression. A band whose name is no word is quoted: ``"SWIR 2" / B8``.
        known: Names of bands; a text that is one of them is that band, whatever characters it has.

    Raises:
        ExpressionError: When it cannot be parsed, or names no band; the text says where.
    """
    if text in known:
        return Expression(text, (text,), ast.Name(text))
    line = " ".join(text.split())
    if len(line) > _LONGEST:
        raise ExpressionError(f"an expression of {len(line)} characters; at most {_LONGEST} are read: {line[:40]}...")
    try:
        tree = ast.parse(line, mode="eval").body
    except SyntaxError as error:
        # Where it ends too early Python names no place.
        raise _wrong(line, error.offset - 1 if error.offset else len(line), error.msg) from error
    except (ValueError, MemoryError, RecursionError) as error:
        raise _wrong(line, 0, str(error) or "too deeply nested") from error
    bands = tuple(dict.fromkeys(_check(tree, line)))
    if not bands:
        raise _wrong(line, 0, "names no band")
    return Expression(text, bands, tree)


def _wrong(line: str, column: int, why: str) -> ExpressionError:
    return ExpressionError(
        f"expression {line!r}, at character {column + 1}: {why}. It may hold numbers, bands, + - * / **, parentheses, "
        f"and {', '.join(_FUNCTIONS)}; a band whose name is no word is quoted"
    )


def _check(node: ast.expr, line: str) -> list[str]:
    """Return the bands below a node, in order; whatever is not on the list of what there may be is refused."""
    match node:
        case ast.Name(id=name):
            return [name]
        case ast.Constant(value=str(name)):
            return [name]
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            _require_finite(number, node, line)
            return []
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            return _check(operand, line)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _check(left, line) + _check(right, line)
        case ast.Call(func=ast.Name(id=name), args=[_, *others] as arguments, keywords=[]) if name in _FUNCTIONS:
            if bool(others) == (name in _OF_ONE):
                raise _wrong(line, node.col_offset, f"{name} takes {'one value' if others else 'two values or more'}")
            return [band for argument in arguments for band in _check(argument, line)]
    raise _wrong(line, node.col_offset, f"{ast.get_source_segment(line, node)!r} is not understood")


def _require_finite(number: float, node: ast.expr, line: str) -> None:
    try:
        finite = np.isfinite(np.float64(number))
    except OverflowError:
        finite = np.False_
    if not finite:
        raise _wrong(line, node.col_offset, "the number is too large")


def _evaluate(node: ast.expr, values: Mapping[str, _Values]) -> _Values:
    match node:
        case ast.Name(id=name):
            return values[name]
        case ast.Constant(value=str(name)):
            return values[name]
        case ast.Constant(value=number):
            return np.float64(number)  # type: ignore[arg-type]
        case ast.UnaryOp(op=op, operand=operand):
            value = _evaluate(operand, values)
            return -value if isinstance(op, ast.USub) else value
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_evaluate(left, values), _evaluate(right, values))
        case ast.Call(func=ast.Name(id=name), args=arguments):
            given = [_evaluate(argument, values) for argument in arguments]
            return _OF_ONE[name](given[0]) if name in _OF_ONE else reduce(_OF_SEVERAL[name], given)
    raise AssertionError(ast.dump(node))
