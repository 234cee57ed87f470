"""Conditions in CEL, answered in three values.

A name without a value (absent, null or not a number) is left unbound, and an expression is unknown only
where it is undecided: ``err > 0.20 || p95 > 5`` is true without p95. Lists and text are bounded before
they become facts, so an evaluation is bounded too and runs in line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import Any

import cel

MAX_CHARACTERS = 512


class Truth(Enum):
    """Yes, no, or not known."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"


@lru_cache(maxsize=4096)
def _program(expression: str) -> tuple[Any, frozenset[str]]:
    """What runs it, and the names that it uses: everything else need not be converted for it."""
    if len(expression) > MAX_CHARACTERS:
        raise ValueError(f"the expression has {len(expression)} characters; {MAX_CHARACTERS} are allowed")
    program = cel.compile(expression)
    return program, frozenset(program.variables())


def check_syntax(expression: str) -> None:
    """Raises ValueError, with line and column in its message, where this is no CEL."""
    _program(expression)


def names_in(expression: str) -> frozenset[str]:
    """The names that it looks up. Raises ValueError where this is no CEL."""
    return _program(expression)[1]


def evaluate(expression: str, values: Mapping[str, Any], *, nulls: bool = False) -> tuple[Truth, str]:
    """Whether it holds over these values, and why it is unknown where it is.

    With ``nulls`` a null is a value like others, as where an API server evaluates.
    """
    try:
        program, names = _program(expression)
        given = {name: values[name] for name in names if name in values}
        answer = program.execute(given if nulls else bound(given))
    except (RuntimeError, KeyError, TypeError, ValueError, ArithmeticError, IndexError) as error:
        return Truth.UNKNOWN, _reason(error)
    if answer is True:
        return Truth.TRUE, ""
    if answer is False:
        return Truth.FALSE, ""
    return Truth.UNKNOWN, f"the expression gives {type(answer).__name__}, not true or false"


def bound(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that there are: null and not-a-number are left out, at every depth."""
    kept: dict[str, Any] = {}
    for name, value in values.items():
        if value is None or (isinstance(value, float) and math.isnan(value)):
            continue
        kept[name] = bound(value) if isinstance(value, Mapping) else value
    return kept


def _reason(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, KeyError):
        return f"there is no {text}"
    if text.startswith("Undefined variable or function: "):
        name = text.split(": ", 1)[1].split(".")[0].strip("'")
        return f"there is no value for {name}"
    return text[:200]
