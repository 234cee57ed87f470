"""What an expression can give, and arithmetic as Go does it: dividing by zero gives a value, no exception."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from receiver.demo.prometheus.errors import QueryError
from receiver.demo.prometheus.series import NAME, Labels, Point


@dataclass(frozen=True)
class Element:
    """One member of an instant vector."""

    labels: Labels
    value: float


@dataclass(frozen=True)
class Window:
    """One member of a range vector: its samples, and the interval that was asked for."""

    labels: Labels
    points: list[Point]
    start_ms: int
    end_ms: int


Vector = list[Element]
Matrix = list[Window]
Value = float | str | Vector | Matrix


def without_name(labels: Labels) -> Labels:
    """The labels of a computed value: it is no longer the metric it came from."""
    return tuple(pair for pair in labels if pair[0] != NAME)


def only(labels: Labels, names: Iterable[str]) -> Labels:
    """The labels with these names."""
    kept = set(names)
    return tuple(pair for pair in labels if pair[0] in kept)


def dropping(labels: Labels, names: Iterable[str]) -> Labels:
    """The labels without these names."""
    gone = set(names)
    return tuple(pair for pair in labels if pair[0] not in gone)


def distinct(vector: Vector) -> Vector:
    """The vector itself; losing the metric's name must not have made two of its members the same."""
    if len({element.labels for element in vector}) != len(vector):
        raise QueryError("vector cannot contain metrics with the same labelset")
    return vector


def divide(a: float, b: float) -> float:
    """0/0 is NaN, anything else over 0 is infinite."""
    if b != 0:
        return a / b
    return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1, b)


def modulo(a: float, b: float) -> float:
    """The remainder with the sign of ``a``."""
    return math.nan if b == 0 or math.isinf(a) else math.fmod(a, b)


def power(a: float, b: float) -> float:
    """``a ^ b``."""
    try:
        return math.pow(a, b)
    except OverflowError:
        negative = a < 0 and b % 2 == 1
        return -math.inf if negative else math.inf
    except ValueError:  # a root of a negative number, or zero to a negative power
        return math.nan if a != 0 else math.inf


def mean(values: Iterable[float]) -> float:
    """The running mean, which does not overflow; once infinite it stays so until the other infinity comes."""
    average = 0.0
    for count, value in enumerate(values, start=1):
        if not math.isinf(average):
            average += value / count - average / count
        elif not math.isfinite(value) and value != average:
            average = math.nan
    return average


def quantile(q: float, values: Iterable[float]) -> float:
    """The ``q``-quantile with linear interpolation, NaN being the smallest value."""
    ordered = sorted(values, key=lambda value: (not math.isnan(value), value))
    if not ordered or math.isnan(q):
        return math.nan
    if q < 0:
        return -math.inf
    if q > 1:
        return math.inf
    rank = q * (len(ordered) - 1)
    lower = max(0, math.floor(rank))
    upper = min(len(ordered) - 1, lower + 1)
    weight = rank - math.floor(rank)
    return ordered[lower] * (1 - weight) + ordered[upper] * weight
