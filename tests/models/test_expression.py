"""Index expressions: what they compute, what they refuse and where, and that their bits do not depend on place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.classical.expression import parse_expression
from models.errors import ExpressionError

RNG = np.random.default_rng(0)
BANDS = {name: RNG.uniform(0.01, 0.6, (7, 11)).astype(np.float32) for name in ("B4", "B8", "B12", "SWIR 2", "abs")}
A, B, C = (BANDS[name].astype(np.float64) for name in ("B4", "B8", "B12"))
VALUES = {
    "B8": B,
    "(B8 - B12) / (B8 + B12)": (B - C) / (B + C),
    "2.5 * (B8 - B4) / (B8 + 2.4 * B4 + 1)": 2.5 * (B - A) / (B + 2.4 * A + 1),
    "-B8 ** 2 + +B4": -(B**2) + A,
    "2 ** B8 - 1e-3": 2**B - 1e-3,
    "abs(B4 - B8) + sqrt(B12)": abs(A - B) + np.sqrt(C),
    "log(B8) * exp(-B4)": np.log(B) * np.exp(-A),
    "min(B4, B8, B12) - max(B4, 0.3)": np.minimum(np.minimum(A, B), C) - np.maximum(A, 0.3),
    "'SWIR 2' / abs": BANDS["SWIR 2"].astype(np.float64) / BANDS["abs"],
    "\n B8 -\n B4 ": B - A,
}
WRONG = {
    "": (1, "invalid syntax"),
    "B8 +": (5, "invalid syntax"),
    "1 + 2": (1, "names no band"),
    "__import__('os').system('true')": (1, "is not understood"),
    "B8 + B4.real": (6, "'B4.real' is not understood"),
    "B8[0]": (1, "is not understood"),
    "B8 if B4 else 1": (1, "is not understood"),
    "B8 < B4": (1, "is not understood"),
    "B8 // 2": (1, "is not understood"),
    "(lambda: B8)()": (1, "is not understood"),
    "B8 * 1j": (6, "is not understood"),
    "B8 * True": (6, "is not understood"),
    "f'{B8}'": (1, "is not understood"),
    "B8 + abs(B8, B4)": (6, "abs takes one value"),
    "min(B8)": (1, "min takes two values or more"),
    "abs(x=B8)": (1, "is not understood"),
    "tan(B8)": (1, "is not understood"),
    "B8 * 1e999": (6, "too large"),
}


@pytest.mark.parametrize("text", VALUES)
def test_an_expression_is_what_numpy_computes_in_float64(text):
    found = parse_expression(text)(BANDS)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, VALUES[text].astype(np.float32))


def test_bands_are_named_in_the_order_of_their_first_occurrence():
    assert parse_expression("B12 * B4 - B12 / 'SWIR 2'").bands == ("B12", "B4", "SWIR 2")


def test_a_text_that_is_a_bands_name_is_that_band():
    assert parse_expression("B8-B4", ("B8-B4", "B8")).bands == ("B8-B4",)
    assert parse_expression("1", ("1",))({"1": BANDS["B4"]}).tolist() == BANDS["B4"].tolist()


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_expression_is_refused_with_the_place(text):
    place, why = WRONG[text]
    with pytest.raises(ExpressionError, match=f"at character {place}: ") as caught:
        parse_expression(text)
    assert why in str(caught.value)


def test_a_null_byte_is_refused():
    with pytest.raises(ExpressionError, match="null byte"):
        parse_expression("B8\0")


def test_an_expression_without_end_is_refused_and_a_power_without_end_is_infinite():
    with pytest.raises(ExpressionError, match="at most 300"):
        parse_expression("-" * 400 + "B8")
    assert np.isinf(parse_expression("B8 * 9**9**9**9")(BANDS)).all()


def test_what_has_no_value_is_not_finite():
    bands = {"a": np.array([0, 1, -1], np.float32), "b": np.zeros(3, np.float32)}
    assert not np.isfinite(parse_expression("a / b")(bands)).any()
    assert np.isfinite(parse_expression("log(a)")(bands)).tolist() == [False, True, False]
    assert np.isfinite(parse_expression("a ** 0.5")(bands)).tolist() == [True, True, False]


@settings(max_examples=40)
@given(
    start=st.integers(0, 70_000),
    length=st.integers(1, 5_000),
    text=st.sampled_from(["log(x)", "x ** 1.7", "exp(-x) / sqrt(x)", "min(x, log(x)) * x"]),
)
def test_a_pixel_has_the_same_bits_wherever_in_an_array_it_lies(start, length, text):
    values = np.random.default_rng(1).uniform(0.01, 50, 75_001).astype(np.float32)
    expression = parse_expression(text)
    whole = expression({"x": values})
    part = slice(start, start + length)
    np.testing.assert_array_equal(expression({"x": values[part]}), whole[part])
