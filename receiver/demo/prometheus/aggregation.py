"""Aggregations: many members of a vector become one per group, or the best few of each group."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from receiver.demo.prometheus.errors import UnsupportedError
from receiver.demo.prometheus.series import NAME, Labels
from receiver.demo.prometheus.values import Element, Vector, dropping, mean, only, quantile

AGGREGATIONS = ("sum", "avg", "min", "max", "count", "group", "quantile", "topk", "bottomk")


def aggregate(
    operator: str, vector: Vector, parameter: float | None, group_key: Callable[[Labels], Labels]
) -> Vector:
    """The aggregated vector; ``parameter`` is the k of topk or the q of quantile."""
    if operator not in AGGREGATIONS:
        raise UnsupportedError(f"the aggregation {operator}")
    groups: dict[Labels, Vector] = {}
    for element in vector:
        groups.setdefault(group_key(element.labels), []).append(element)
    if operator in ("topk", "bottomk"):
        return [e for members in groups.values() for e in _best(operator, members, parameter or 0.0)]
    return [
        Element(key, _combined(operator, [member.value for member in members], parameter))
        for key, members in groups.items()
    ]


def by(names: Iterable[str]) -> Callable[[Labels], Labels]:
    """Groups are told apart by these labels."""
    kept = tuple(names)
    return lambda labels: only(labels, kept)


def without(names: Iterable[str]) -> Callable[[Labels], Labels]:
    """Groups are told apart by all labels but these and the metric's name."""
    gone = (NAME, *names)
    return lambda labels: dropping(labels, gone)


def _combined(operator: str, values: list[float], parameter: float | None) -> float:
    match operator:
        case "sum":
            return _in_order(values)
        case "avg":
            return mean(values)
        case "count":
            return float(len(values))
        case "group":
            return 1.0
        case "min":
            return _first_best(values, lambda value, best: value < best)
        case "max":
            return _first_best(values, lambda value, best: value > best)
        case _:
            return quantile(math.nan if parameter is None else parameter, values)


def _in_order(values: list[float]) -> float:
    total = 0.0
    for value in values:
        total += value
    return total


def _first_best(values: list[float], better: Callable[[float, float], bool]) -> float:
    best = values[0]
    for value in values[1:]:
        if better(value, best) or math.isnan(best):
            best = value
    return best


def _best(operator: str, members: Vector, parameter: float) -> Vector:
    sign = -1 if operator == "topk" else 1
    ordered = sorted(members, key=lambda e: (math.isnan(e.value), sign * e.value))
    return ordered[: max(0, int(parameter))]
