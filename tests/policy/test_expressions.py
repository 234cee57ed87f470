"""Three values: true, false, and unknown only where it is undecided."""

from __future__ import annotations

import math
from typing import Any

import pytest

from receiver.policy.expressions import MAX_CHARACTERS, Truth, check_syntax, evaluate

ANSWERS: dict[str, tuple[str, dict[str, Any], Truth]] = {
    "holds": ("err > 0.20", {"err": 0.21}, Truth.TRUE),
    "does not hold": ("err > 0.20", {"err": 0.20}, Truth.FALSE),
    "a whole number compares with a decimal": ("p95 > 5", {"p95": 5.5}, Truth.TRUE),
    "no value": ("err > 0.20", {}, Truth.UNKNOWN),
    "null is no value": ("err > 0.20", {"err": None}, Truth.UNKNOWN),
    "not a number is no value": ("err > 0.20", {"err": math.nan}, Truth.UNKNOWN),
    "the left side decides": ("err > 0.20 || p95 > 5", {"err": 0.5}, Truth.TRUE),
    "the right side decides": ("err > 0.20 || p95 > 5", {"p95": 6.0}, Truth.TRUE),
    "neither side decides": ("err > 0.20 || p95 > 5", {"err": 0.1}, Truth.UNKNOWN),
    "false decides an and": ("err > 0.20 && p95 > 5", {"err": 0.1}, Truth.FALSE),
    "true does not decide an and": ("err > 0.20 && p95 > 5", {"err": 0.5}, Truth.UNKNOWN),
    "null below is no value": ("a.b > 1", {"a": {"b": None}}, Truth.UNKNOWN),
    "has asks whether it is there": ("has(a.b)", {"a": {}}, Truth.FALSE),
    "a number is no answer": ("err", {"err": 1.0}, Truth.UNKNOWN),
    "wrong kinds are unknown": ("err > 'x'", {"err": 1.0}, Truth.UNKNOWN),
    "a division by zero is unknown": ("1 / n > 0", {"n": 0}, Truth.UNKNOWN),
    "beyond the end of a list": ("l[5] == 1", {"l": [1]}, Truth.UNKNOWN),
}


@pytest.mark.parametrize(("expression", "values", "wanted"), ANSWERS.values(), ids=ANSWERS)
def test_an_expression_has_three_values(expression: str, values: dict[str, Any], wanted: Truth) -> None:
    truth, reason = evaluate(expression, values)
    assert truth is wanted
    assert bool(reason) is (truth is Truth.UNKNOWN)


def test_the_reason_names_what_is_missing() -> None:
    assert evaluate("err > 0.20", {}) == (Truth.UNKNOWN, "there is no value for err")


def test_what_is_no_cel_is_refused() -> None:
    with pytest.raises(ValueError, match="<input>:1"):
        check_syntax("err >")


def test_length_is_limited() -> None:
    with pytest.raises(ValueError, match="512 are allowed"):
        check_syntax("a" * (MAX_CHARACTERS + 1))
