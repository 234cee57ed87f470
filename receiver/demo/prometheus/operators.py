"""Operators between two values, and which member of one vector meets which of the other.

The rules are Prometheus's: labels must be equal but for the name, `on` and `ignoring` change which count, and
with `group_left` or `group_right` many members of one side may meet the same one of the other.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from receiver.demo.prometheus.errors import QueryError
from receiver.demo.prometheus.series import NAME, Labels, labels_of
from receiver.demo.prometheus.values import (
    Element,
    Vector,
    distinct,
    divide,
    dropping,
    modulo,
    only,
    power,
    without_name,
)

ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": divide,
    "%": modulo,
    "^": power,
    "atan2": math.atan2,
}
COMPARISON: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
SETS = ("and", "or", "unless")


class Cardinality(Enum):
    """How many members may meet one."""

    ONE_TO_ONE = "one-to-one"
    MANY_TO_ONE = "many-to-one"  # group_left
    ONE_TO_MANY = "one-to-many"  # group_right


@dataclass(frozen=True, kw_only=True)
class Matching:
    """Which labels decide that two members meet, and what their result carries."""

    labels: tuple[str, ...] = ()
    on: bool = False
    include: tuple[str, ...] = ()
    cardinality: Cardinality = Cardinality.ONE_TO_ONE

    def key(self, labels: Labels) -> Labels:
        """Equal for members that meet."""
        return only(labels, self.labels) if self.on else dropping(labels, (NAME, *self.labels))

    def result_labels(self, many: Labels, one: Labels, *, keep_name: bool) -> Labels:
        """The labels of the pair's result; ``many`` is the left side of a one-to-one match."""
        labels = many if keep_name else without_name(many)
        if self.cardinality is Cardinality.ONE_TO_ONE:
            labels = only(labels, self.labels) if self.on else dropping(labels, self.labels)
        if not self.include:
            return labels
        theirs = dict(one)
        return labels_of({**dict(labels), **{name: theirs.get(name, "") for name in self.include}})


def compute(symbol: str, left: float, right: float) -> tuple[float, bool]:
    """The value, and whether a filter keeps it."""
    if symbol in COMPARISON:
        return left, COMPARISON[symbol](left, right)
    return ARITHMETIC[symbol](left, right), True


def between_scalars(symbol: str, left: float, right: float) -> float:
    """Two numbers; a comparison gives 1 or 0 (the grammar demands `bool` there)."""
    value, holds = compute(symbol, left, right)
    return float(holds) if symbol in COMPARISON else value


def with_scalar(symbol: str, vector: Vector, scalar: float, *, swapped: bool, as_bool: bool) -> Vector:
    """A vector and a number; ``swapped`` when the number stands on the left."""
    result = []
    for element in vector:
        left, right = (scalar, element.value) if swapped else (element.value, scalar)
        value, holds = compute(symbol, left, right)
        if symbol not in COMPARISON:
            result.append(Element(without_name(element.labels), value))
        elif as_bool:
            result.append(Element(without_name(element.labels), float(holds)))
        elif holds:
            result.append(element)
    return distinct(result)


def between_sets(symbol: str, left: Vector, right: Vector, matching: Matching) -> Vector:
    """`and`, `or` and `unless`: members are kept as they are."""
    if symbol == "or":
        there = {matching.key(element.labels) for element in left}
        return left + [element for element in right if matching.key(element.labels) not in there]
    there = {matching.key(element.labels) for element in right}
    return [element for element in left if (matching.key(element.labels) in there) is (symbol == "and")]


def between_vectors(symbol: str, left: Vector, right: Vector, matching: Matching, *, as_bool: bool) -> Vector:
    """Arithmetic or comparison of the members that meet."""
    swapped = matching.cardinality is Cardinality.ONE_TO_MANY
    many, one = (right, left) if swapped else (left, right)
    by_key: dict[Labels, Element] = {}
    for element in one:
        key = matching.key(element.labels)
        if key in by_key:
            raise _ambiguous(key, by_key[key].labels, element.labels, "left" if swapped else "right")
        by_key[key] = element
    result: Vector = []
    met: set[Labels] = set()
    keep_name = symbol in COMPARISON and not as_bool
    for element in many:
        key = matching.key(element.labels)
        if (partner := by_key.get(key)) is None:
            continue
        pair = (partner.value, element.value) if swapped else (element.value, partner.value)
        value, holds = compute(symbol, *pair)
        if as_bool:
            value = float(holds)
        elif not holds:
            continue
        labels = matching.result_labels(element.labels, partner.labels, keep_name=keep_name)
        if matching.cardinality is Cardinality.ONE_TO_ONE:
            if key in met:
                raise QueryError(
                    "multiple matches for labels: many-to-one matching must be explicit "
                    "(group_left/group_right)"
                )
            met.add(key)
        elif labels in met:
            raise QueryError("multiple matches for labels: grouping labels must ensure unique matches")
        else:
            met.add(labels)
        result.append(Element(labels, value))
    return distinct(result)


def _ambiguous(key: Labels, first: Labels, second: Labels, side: str) -> QueryError:
    shown = ", ".join(shown_labels(labels) for labels in (second, first))
    return QueryError(
        f"found duplicate series for the match group {shown_labels(key)} on the {side} hand-side of the "
        f"operation: [{shown}];many-to-many matching not allowed: matching labels must be unique on one side"
    )


def shown_labels(labels: Labels) -> str:
    """Labels in PromQL's notation."""
    name = dict(labels).get(NAME, "")
    pairs = ", ".join(f'{key}="{value}"' for key, value in labels if key != NAME)
    return f"{name}{{{pairs}}}"
