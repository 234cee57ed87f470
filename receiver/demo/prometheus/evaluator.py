"""Evaluates a parsed PromQL expression at one moment.

Walks the tree that `promql_parser` gives; selects samples itself and leaves the arithmetic to the modules of
windows, functions, aggregations and operators. What the demo does not know is refused by name. Follows
Prometheus 2.42, the version that the tests compare with: intervals are closed at both ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import promql_parser as promql

from receiver.demo.prometheus import aggregation, functions, operators
from receiver.demo.prometheus.errors import QueryError, UnsupportedError
from receiver.demo.prometheus.series import SeriesStore
from receiver.demo.prometheus.syntax import Expression, absent_element, matchers_of, matching_of, to_ms
from receiver.demo.prometheus.values import (
    Element,
    Matrix,
    Value,
    Vector,
    Window,
    distinct,
    quantile,
    without_name,
)
from receiver.demo.prometheus.windows import WINDOW_FUNCTIONS, predict

# How long a series lives on after its last sample, unless a marker says that it ended.
LOOKBACK = timedelta(minutes=5)
# The step of a subquery that names none; Prometheus takes its evaluation interval.
DEFAULT_SUBQUERY_STEP = timedelta(seconds=15)


def evaluate(expression: Expression, store: SeriesStore, at_ms: int) -> Value:
    """The expression's value at this moment."""
    return _Evaluation(store, at_ms).value(expression.tree)


class _Evaluation:
    """One walk over a tree at one moment."""

    def __init__(self, store: SeriesStore, at_ms: int) -> None:
        self._store = store
        self._at = at_ms

    def value(self, node: Any) -> Value:
        match node:
            case promql.ParenExpr():
                return self.value(node.expr)
            case promql.NumberLiteral():
                return float(node.val)
            case promql.StringLiteral():
                return str(node.val)
            case promql.VectorSelector():
                return [element for element, _ in self._selected(node)]
            case promql.MatrixSelector():
                return self._windows(node)
            case promql.SubqueryExpr():
                return self._subquery(node)
            case promql.UnaryExpr():
                return self._negated(node)
            case promql.AggregateExpr():
                return self._aggregated(node)
            case promql.BinaryExpr():
                return self._binary(node)
            case promql.Call():
                return self._called(node.func.name, list(node.args))
            case _:
                raise UnsupportedError(type(node).__name__)

    def _scalar(self, node: Any) -> float:
        value = self.value(node)
        if not isinstance(value, float):
            raise QueryError("expected type scalar")
        return value

    def _vector(self, node: Any) -> Vector:
        value = self.value(node)
        if not isinstance(value, list):
            raise QueryError("expected type instant vector")
        return [member for member in value if isinstance(member, Element)]

    def _matrix(self, node: Any) -> Matrix:
        value = self.value(node)
        if not isinstance(value, list):
            raise QueryError("expected type range vector")
        return [member for member in value if isinstance(member, Window)]

    def _until(self, selector: Any) -> int:
        if selector.at is not None:
            raise UnsupportedError("the @ modifier")
        return self._at - to_ms(selector.offset or timedelta(0))

    def _selected(self, selector: Any) -> Iterable[tuple[Element, int]]:
        until = self._until(selector)
        for series in self._store.select(matchers_of(selector)):
            if (point := series.latest(until - to_ms(LOOKBACK), until)) is not None:
                yield Element(series.labels, point[1]), point[0]

    def _windows(self, node: Any) -> Matrix:
        until = self._until(node.vector_selector)
        since = until - to_ms(node.range)
        windows = (
            Window(series.labels, series.points(since, until), since, until)
            for series in self._store.select(matchers_of(node.vector_selector))
        )
        return [window for window in windows if window.points]

    def _subquery(self, node: Any) -> Matrix:
        until = self._until(node)
        since = until - to_ms(node.range)
        step = to_ms(node.step or DEFAULT_SUBQUERY_STEP)
        windows: dict[Any, Window] = {}
        # The steps are aligned to the epoch, so that two evaluations look at the same moments.
        for at in range(-(-since // step) * step, until + 1, step):
            value = _Evaluation(self._store, at).value(node.expr)
            members = [Element((), value)] if isinstance(value, float) else value
            for member in members:
                if isinstance(member, Element):
                    window = windows.setdefault(member.labels, Window(member.labels, [], since, until))
                    window.points.append((at, member.value))
        return list(windows.values())

    def _negated(self, node: Any) -> Value:
        value = self.value(node.expr)
        if isinstance(value, float):
            return -value
        return distinct([Element(without_name(e.labels), -e.value) for e in self._vector(node.expr)])

    def _aggregated(self, node: Any) -> Vector:
        modifier = node.modifier
        if modifier is None:
            group_key = aggregation.by(())
        elif modifier.type == promql.AggModifierType.By:
            group_key = aggregation.by(modifier.labels)
        else:
            group_key = aggregation.without(modifier.labels)
        operator = str(node.op)
        if operator not in aggregation.AGGREGATIONS:  # before its parameter, which may be a string
            raise UnsupportedError(f"the aggregation {operator}")
        parameter = None if node.param is None else self._scalar(node.param)
        return aggregation.aggregate(operator, self._vector(node.expr), parameter, group_key)

    def _binary(self, node: Any) -> Value:
        symbol = str(node.op)
        if symbol not in (*operators.ARITHMETIC, *operators.COMPARISON, *operators.SETS):
            raise UnsupportedError(f"the operator {symbol}")
        as_bool = node.modifier is not None and bool(node.modifier.return_bool)
        left, right = self.value(node.lhs), self.value(node.rhs)
        if isinstance(left, float) and isinstance(right, float):
            return operators.between_scalars(symbol, left, right)
        if isinstance(right, float):
            return operators.with_scalar(
                symbol, self._vector(node.lhs), right, swapped=False, as_bool=as_bool
            )
        if isinstance(left, float):
            return operators.with_scalar(symbol, self._vector(node.rhs), left, swapped=True, as_bool=as_bool)
        vectors = self._vector(node.lhs), self._vector(node.rhs)
        matching = matching_of(node.modifier)
        if symbol in operators.SETS:
            return operators.between_sets(symbol, *vectors, matching)
        return operators.between_vectors(symbol, *vectors, matching, as_bool=as_bool)

    def _called(self, name: str, arguments: list[Any]) -> Value:
        if name in WINDOW_FUNCTIONS:
            return self._over_windows(
                arguments[0], WINDOW_FUNCTIONS[name], keep_name=name == "last_over_time"
            )
        if name in functions.MEMBER_FUNCTIONS:
            return self._each(arguments[0], functions.MEMBER_FUNCTIONS[name])
        match name, arguments:
            case "time", []:
                return self._at / 1000
            case "vector", [number]:
                return [Element((), self._scalar(number))]
            case "scalar", [vector]:
                members = self._vector(vector)
                return members[0].value if len(members) == 1 else math.nan
            case "timestamp", [vector]:
                return self._timestamps(vector)
            case "absent", [vector]:
                return [] if self._vector(vector) else [absent_element(vector)]
            case "absent_over_time", [matrix]:
                return [] if self._matrix(matrix) else [absent_element(matrix)]
            case "round", [vector, *step]:
                to = self._scalar(step[0]) if step else 1.0
                return self._each(vector, lambda value: functions.nearest(value, to))
            case "clamp", [vector, low, high]:
                return self._clamped(vector, self._scalar(low), self._scalar(high))
            case "clamp_min", [vector, low]:
                return self._clamped(vector, self._scalar(low), math.inf)
            case "clamp_max", [vector, high]:
                return self._clamped(vector, -math.inf, self._scalar(high))
            case "quantile_over_time", [q, matrix]:
                rank = self._scalar(q)
                return self._over_windows(matrix, lambda w: quantile(rank, (value for _, value in w.points)))
            case "predict_linear", [matrix, ahead]:
                ahead_s = self._scalar(ahead)
                return self._over_windows(matrix, lambda w: predict(w, self._at, ahead_s))
            case "histogram_quantile", [q, vector]:
                return functions.histogram_quantile(self._scalar(q), self._vector(vector))
            case "sort", [vector]:
                return sorted(self._vector(vector), key=lambda e: (math.isnan(e.value), e.value))
            case "sort_desc", [vector]:
                return sorted(self._vector(vector), key=lambda e: (math.isnan(e.value), -e.value))
            case "label_replace", [vector, *texts]:
                target, replacement, source, pattern = (str(self.value(text)) for text in texts)
                members = self._vector(vector)
                return distinct(functions.label_replace(members, target, replacement, source, pattern))
            case _:
                raise UnsupportedError(f"the function {name}")

    def _over_windows(
        self, node: Any, function: Callable[[Window], float | None], *, keep_name: bool = False
    ) -> Vector:
        result = []
        for window in self._matrix(node):
            if (value := function(window)) is not None:
                labels = window.labels if keep_name else without_name(window.labels)
                result.append(Element(labels, value))
        return distinct(result)

    def _each(self, node: Any, function: Callable[[float], float]) -> Vector:
        return distinct([Element(without_name(e.labels), function(e.value)) for e in self._vector(node)])

    def _clamped(self, node: Any, low: float, high: float) -> Vector:
        if low > high:
            return []
        return self._each(node, lambda value: functions.clamp(value, low, high))

    def _timestamps(self, node: Any) -> Vector:
        while isinstance(node, promql.ParenExpr):
            node = node.expr
        if isinstance(node, promql.VectorSelector):  # the sample's own time, not the evaluation's
            pairs = [(element.labels, at) for element, at in self._selected(node)]
        else:
            pairs = [(element.labels, self._at) for element in self._vector(node)]
        return distinct([Element(without_name(labels), at / 1000) for labels, at in pairs])
